"""What tests of the services and of the whole use."""

from stack.local_stack import LocalStack
from stack.servers import S3Access, Servers

__all__ = ["LocalStack", "S3Access", "Servers"]
