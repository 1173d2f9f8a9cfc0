"""The catalog: partners, years, ODS connections, bundles, and the assessments that jobs are about."""

from alembic import op

revision = "0002"
down_revision = "0001"

CATALOG = """
CREATE TABLE partner (
    code       text PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenant (
    partner    text NOT NULL REFERENCES partner (code),
    code       text NOT NULL,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partner, code)
);

-- A school year is named by the year it ends in.
CREATE TABLE school_year (
    code text PRIMARY KEY CHECK (code ~ '^[0-9]{4}$')
);

CREATE TABLE partner_year (
    partner      text NOT NULL REFERENCES partner (code),
    school_year  text NOT NULL REFERENCES school_year (code),
    enabled      boolean NOT NULL,
    sends_to_ods boolean NOT NULL,
    needs_roster boolean NOT NULL DEFAULT true,
    match_rate   numeric(4, 3) NOT NULL DEFAULT 0.5 CHECK (match_rate BETWEEN 0 AND 1),
    PRIMARY KEY (partner, school_year)
);

CREATE TABLE ods (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner       text NOT NULL,
    tenant        text NOT NULL,
    end_year      text NOT NULL REFERENCES school_year (code),
    url           text NOT NULL,
    token_url     text NOT NULL,
    client_id     text NOT NULL,
    client_secret text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    retired_at    timestamptz,
    FOREIGN KEY (partner, tenant) REFERENCES tenant (partner, code)
);
CREATE UNIQUE INDEX ods_live ON ods (partner, tenant, end_year) WHERE retired_at IS NULL;
COMMENT ON COLUMN ods.client_secret IS 'sealed for its partner, tenant and year';

CREATE TABLE roster (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner     text NOT NULL,
    tenant      text NOT NULL,
    school_year text NOT NULL REFERENCES school_year (code),
    object_key  text NOT NULL,
    sha256      text NOT NULL,
    size_bytes  bigint NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (partner, tenant, school_year),
    FOREIGN KEY (partner, tenant) REFERENCES tenant (partner, code)
);
"""

BUNDLES = """
CREATE TABLE bundle (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key                text NOT NULL UNIQUE,
    current_version_id bigint,
    created_at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE bundle_version (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bundle_id  bigint NOT NULL REFERENCES bundle (id),
    number     integer NOT NULL,
    sha256     text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('bundle', 'echo')),
    mode       text NOT NULL CHECK (mode IN ('direct', 'matched')),
    metadata   jsonb NOT NULL,
    warnings   jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (bundle_id, number),
    UNIQUE (bundle_id, sha256)
);
ALTER TABLE bundle ADD FOREIGN KEY (current_version_id) REFERENCES bundle_version (id);

-- Jobs are pinned to a version: what a version says may never change.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows are immutable', tg_table_name;
END $$;
CREATE TRIGGER bundle_version_is_immutable BEFORE UPDATE OR DELETE ON bundle_version
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- By key, not by id: a bundle may be enabled before it is imported.
CREATE TABLE bundle_enablement (
    partner         text NOT NULL REFERENCES partner (code),
    bundle_key      text NOT NULL,
    mode            text CHECK (mode IN ('direct', 'matched')),
    student_id_name text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partner, bundle_key)
);

CREATE TABLE descriptor_mapping (
    partner    text NOT NULL,
    tenant     text NOT NULL,
    bundle_key text NOT NULL,
    file_name  text NOT NULL,
    object_key text NOT NULL,
    sha256     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partner, tenant, bundle_key, file_name),
    FOREIGN KEY (partner, tenant) REFERENCES tenant (partner, code)
);
"""

ASSESSMENTS = """
ALTER TABLE job ADD CONSTRAINT job_bundle_version_id_fkey
    FOREIGN KEY (bundle_version_id) REFERENCES bundle_version (id);

-- params and files are json, not jsonb: clients see them in the order they sent.
CREATE TABLE assessment (
    job_uid         uuid PRIMARY KEY REFERENCES job (uid),
    tenant          text NOT NULL,
    school_year     text NOT NULL,
    params          json NOT NULL,
    files           json NOT NULL,
    mode            text NOT NULL CHECK (mode IN ('direct', 'matched')),
    student_id_name text,
    ods_id          bigint REFERENCES ods (id),
    sends_to_ods    boolean NOT NULL,
    match_rate      numeric(4, 3) NOT NULL
);
CREATE INDEX job_listed ON job (partner, created_at DESC, uid);
"""


def upgrade() -> None:
    for statements in (CATALOG, BUNDLES, ASSESSMENTS):
        op.execute(statements)
