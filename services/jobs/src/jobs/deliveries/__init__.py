"""What must go out is a row first: recorded with the decision, sent after it, closed by an answer."""
