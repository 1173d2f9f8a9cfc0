"""What applications may do (access rules), what is revoked, and who managed it."""

from alembic import op

from common import idempotency

revision = "0002"
down_revision = "0001"

ROLES = """
CREATE TABLE gateway.role (
    id            smallint PRIMARY KEY,
    name          text NOT NULL UNIQUE,
    scopes        text[] NOT NULL,
    permissions   text[] NOT NULL,
    is_partners   boolean NOT NULL
);
COMMENT ON COLUMN gateway.role.scopes IS 'what its tokens get';
COMMENT ON COLUMN gateway.role.is_partners IS 'may be given for one partner';

INSERT INTO gateway.role (id, name, is_partners, scopes, permissions) VALUES
    (1, 'Researcher', true,
     '{create:jobs,read:jobs,read:jobs:output-files}', '{jobs:create,jobs:read,outputs:read}'),
    (2, 'Editor', false, '{}',
     '{partners:write,tenants:write,school-years:write,ods:write,bundles:write}'),
    (3, 'Administrator', false, '{}',
     '{everything:read,applications:write,api-keys:write,settings:write,executors:write}'),
    (4, 'Viewer', true,
     '{read:jobs,read:jobs:output-files}', '{everything:read}');
"""

APPLICATIONS = """
ALTER TABLE gateway.client_application
    ADD COLUMN kind text NOT NULL DEFAULT 'app' CHECK (kind IN ('app', 'service-account')),
    ADD COLUMN created_by text NOT NULL DEFAULT '',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN tokens_from timestamptz NOT NULL DEFAULT 'epoch',
    ADD UNIQUE (name);
COMMENT ON COLUMN gateway.client_application.scopes IS 'given beside those that follow from its access rules';
COMMENT ON COLUMN gateway.client_application.tokens_from IS 'no token says it was issued before';

CREATE TABLE gateway.access_rule (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id bigint NOT NULL REFERENCES gateway.client_application ON DELETE CASCADE,
    role_id        smallint NOT NULL REFERENCES gateway.role,
    partner        text,
    created_by     text NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (application_id, role_id, partner)
);
COMMENT ON COLUMN gateway.access_rule.partner IS 'null: everything';

INSERT INTO gateway.access_rule (application_id, role_id)
    SELECT application.id, role.id
    FROM gateway.client_application AS application JOIN gateway.role ON role.name = ANY (application.roles);
ALTER TABLE gateway.client_application DROP COLUMN roles;
"""

REVOCATIONS = """
CREATE TABLE gateway.revocation (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('client', 'token', 'api-key')),
    subject    text NOT NULL,
    before_at  timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX revocation_of ON gateway.revocation (kind, subject);
COMMENT ON COLUMN gateway.revocation.before_at IS 'what was issued earlier is not good any more';
"""

AUDIT = """
CREATE TABLE gateway.audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    action  text NOT NULL,
    subject text NOT NULL,
    data    jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_at ON gateway.audit (at);
CREATE FUNCTION gateway.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON gateway.audit
    FOR EACH ROW EXECUTE FUNCTION gateway.refuse_change();
"""


def upgrade() -> None:
    for statements in (ROLES, APPLICATIONS, REVOCATIONS, AUDIT, idempotency.TABLE):
        op.execute(statements)
