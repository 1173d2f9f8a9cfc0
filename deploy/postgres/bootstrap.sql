-- Makes Taxiway's database, schemas and roles on a PostgreSQL 15 or later. May be run again at any time.
--
--   psql -X -v ON_ERROR_STOP=1 -d postgres -f bootstrap.sql
--
-- Run it as a superuser, or as a role with CREATEDB and CREATEROLE. It sets no password: roles cannot log in by
-- password until a site gives each one of its own, e.g. with psql's \password jobs_owner.
--
-- For every service there is
--   <service>_owner  owns the schema and migrates it,
--   <service>        reads and writes rows in it, nothing else.
-- Nobody reads another service's schema, and PUBLIC may do nothing.

\set ON_ERROR_STOP on

SELECT 'CREATE DATABASE taxiway ENCODING ''UTF8'' TEMPLATE template0'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'taxiway')
\gexec

\connect taxiway

BEGIN;
SET LOCAL client_min_messages = warning;

REVOKE ALL ON DATABASE taxiway FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

DO $bootstrap$
DECLARE
    service   text;
    owner     text;
    role_name text;
BEGIN
    -- Two runs at once would trip over each other's roles.
    PERFORM pg_advisory_xact_lock(hashtext('taxiway bootstrap'));

    FOREACH service IN ARRAY ARRAY['gateway', 'jobs', 'outputs'] LOOP
        owner := service || '_owner';

        FOREACH role_name IN ARRAY ARRAY[owner, service] LOOP
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
                EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', role_name);
            END IF;
            EXECUTE format('ALTER ROLE %I SET search_path = %I', role_name, service);
            EXECUTE format('GRANT CONNECT ON DATABASE taxiway TO %I', role_name);
        END LOOP;

        -- Without superuser, only a member of the owner may make things in its name.
        IF NOT pg_has_role(current_user, owner, 'USAGE') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', owner);
        END IF;

        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', service, owner);
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', service);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', service, service);

        -- What stands already, then what migrations will add.
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I', service, service);
        EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO %I', service, service);
        EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO %I', service, service);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I'
                       ' GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', owner, service, service);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I'
                       ' GRANT USAGE, SELECT ON SEQUENCES TO %I', owner, service, service);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I'
                       ' GRANT EXECUTE ON FUNCTIONS TO %I', owner, service, service);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I'
                       ' REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC', owner);
    END LOOP;
END
$bootstrap$;

COMMIT;
