extension SchemaTruths {
  /// Of every kind something, and what the server prints otherwise after it has read its own words once.
  ///
  /// All of it can be made by `owner`, who owns the database and is a member of `role`.
  static func definitions(_ role: String, by owner: String) -> String {
    """
    create schema a; set search_path = a, public;
    create extension btree_gist; create extension hstore schema public;
    create table st(id serial primary key, status varchar(20) default 'new' not null check (status in
      ('new','old','it''s ::text (x)')), kind char(3) check (kind in ('a','b')), n numeric(10,2) default -1 check (n
      between -5 and 10 and n <> -1.5), big bigint default -1, t text default null::varchar, d date default current_date,
      ts timestamptz(3) default now(), iv interval day to second(3) default '1 day', arr text[] default '{a,b}', arr2
      varchar[] default array['x','y'], x double precision check (x > -0.5), "Odd ""Col" varchar check ("Odd ""Col" = any
      (array['q','r'])), e boolean default (not true));
    create table st2(id int references st(id) on delete cascade deferrable initially deferred, status varchar, other int,
      unique nulls not distinct (other), exclude using gist (other with =));
    create view v1 as select * from st where status in ('new','old') and kind not in ('a','b');
    create view v2 as select * from st join st2 using (id, status);
    create view v2c (p, q) as select id, s.status from st s left join st2 using (id) order by 1 limit 5;
    alter table st2 add column n int; alter table st add column other int; alter table st rename column d to renamed;
    alter table st2 add column gone int; alter table st2 drop column gone;
    create view v3 with (security_barrier) as select s.id, coalesce(s.n, 0) + 1 as n, case when s.kind in ('a','c') then
      'x' else s.status end as c, s.ts::date, s.ts at time zone 'UTC' as z, array_agg(s.status) filter (where s.id > 1)
      over w as agg from st s window w as (partition by kind order by id rows between 1 preceding and current row) ;
    create recursive view rv (n) as values (1) union all select n + 1 from rv where n < 10;
    create view v4 as with x as materialized (select g r, $$a$$::varchar u from generate_series(1,3) g) select distinct on
      (r) r, u, (select max(id) from st where status like $$n%$$ and status in (select status from st2)) m from x where u
      in ('a','b') or exists (select 1 from st where st.status = x.u) group by grouping sets ((r,u),(u)) having count(*) >
      0;
    create view upd as select id, status from st where status <> 'zzz' with local check option;
    alter view upd alter status set default 'dflt';
    create rule r1 as on insert to upd do instead insert into st(status) values (new.status) returning id, status;
    create rule r2 as on update to st where new.status in ('a','b') do also insert into st2(status) values ('a');
    alter table st disable rule r2;
    create materialized view mv as select status, count(*) from st where status in ('a','b') group by 1;
    create unique index on mv(status); comment on materialized view mv is 'mv';
    create index i1 on st (lower(status), id desc nulls last) include (kind) where status in ('new','old') and kind = 'a';
    create index i2 on st ((status || kind)); alter index i2 alter column 1 set statistics 77; cluster st using st_pkey;
    create index i3 on st using gist (n) with (fillfactor=50); create unique index i4 on st(id, status);
    alter table st replica identity using index i4;
    create table part(id int, k varchar, v int, primary key (id, k)) partition by list (k);
    create table part_a partition of part for values in ('a','b');
    create table part_b (v int, k varchar not null, id int not null); alter table part attach partition part_b default;
    create table part_n partition of part for values in ('n') partition by range (id);
    create table part_n1 partition of part_n for values from (minvalue) to (10);
    create table ref(id int, k varchar, foreign key (id,k) references part);
    create table pfk(id int references st(id), z int) partition by hash (id);
    create table pfk0 partition of pfk for values with (modulus 2, remainder 0);
    create table pfk1 partition of pfk for values with (modulus 2, remainder 1);
    create index on part (v); create index onlyidx on only part (k, v); create index on part_a (v desc);
    alter table part_a add check (v > 0); comment on index part_v_idx is 'c';
    create function trg() returns trigger language plpgsql as 'begin return new; end';
    create trigger t1 before insert or update of status on st for each row when (new.status in ('a','b')) execute function
      trg('x','y''z');
    alter table st disable trigger t1; create trigger tp after insert on part for each row execute function trg();
    alter table part_a disable trigger tp; alter table st enable always trigger t1;
    create trigger stm after update on st referencing old table as o new table as nn for each statement execute function
      trg();
    create constraint trigger ct after insert on st2 deferrable initially deferred for each row execute function trg();
    create trigger io instead of delete on v2c for each row execute function trg();
    create function at(a int, b varchar default 'q', out c int, variadic d text[] default '{}') returns int immutable
      parallel safe cost 7 security definer set search_path = a, public set work_mem='5MB' language sql begin atomic;
    select case when b in ('a','b') then a + 1 else 2 end; end;
    create function old(x st) returns setof st stable rows 5 language sql as $$ select * from a.st where status in ('a') $$;
    create procedure pr(in a int, inout b int, out c int) language plpgsql as 'begin c := 1; end';
    create function tab() returns table(a int, b text) language sql return (1,'x'::text);
    create aggregate agg(int) (sfunc = int4pl, stype = int, initcond = '0', parallel = safe);
    create aggregate ord(order by int) (sfunc = int4pl, stype = int);
    create type en as enum ('x','y'); create type cmp as (a int, b varchar(5) collate "C");
    create domain dm as varchar(9) default 'a' not null check (value in ('a','b')) constraint dc2 check (length(value) > 0);
    create type fr as range (subtype = float8, subtype_diff = float8mi);
    create table typed of cmp (primary key (a));
    create function dmf(cmp) returns text language sql immutable as 'select $1.b::text';
    create cast (cmp as text) with function dmf(cmp) as assignment;
    create function ceq(cmp, cmp) returns bool language sql immutable as 'select $1.a = $2.a';
    create operator === (leftarg = cmp, rightarg = cmp, function = ceq, commutator = ===);
    create operator @@@ (rightarg = int, function = int4um);
    create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table co(a text collate ci, b text collate "C", c text compression pglz);
    alter table co alter a set (n_distinct = 5), alter b set statistics 50, alter c set storage main;
    alter table co set (fillfactor = 70, autovacuum_enabled = false);
    create unlogged table un(a int generated by default as identity (increment 5 start 9 cycle), b int generated always as
      (a * 2) stored);
    create table par(a int, check (a > 0)); create table chi(b int) inherits (par);
    alter table par add column late varchar default 'x' check (late in ('x','y')); create table chi2(a int, z int);
    alter table chi2 add late varchar, add constraint par_a_check check (a > 0), add constraint par_late_check check (late
      in ($$x$$,$$y$$));
    alter table chi2 inherit par; alter table par add constraint noinh check (a <> 5) no inherit;
    alter table st add constraint nv check (id > 0) not valid;
    alter table st2 add constraint fnv foreign key (other) references st(id) match full on update set null not valid;
    create statistics s1 (ndistinct, mcv) on id, status from st; create statistics s2 on (status || 'x'), (n + 1) from st;
    alter statistics s1 set statistics 9;
    alter table st enable row level security;
    create policy p1 on st as restrictive for update to "\(role)", "\(owner)" using (status in ('a','b')) with check (kind =
      current_user);
    create policy p2 on st using (true);
    create publication pub for table st (id, status) where (status = 'a' and id > -1), part with (publish = 'insert',
      publish_via_partition_root);
    create function et() returns event_trigger language plpgsql as 'begin end';
    create text search configuration tsc (copy = english);
    create text search dictionary tsd (template = simple, stopwords = english);
    alter text search configuration tsc alter mapping for asciiword with tsd;
    create conversion conv for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
    create sequence own as smallint increment -1 owned by st2.other; create sequence free maxvalue 99 cache 7;
    grant select (id), update (status) on st to "\(role)"; grant select on st to "\(role)" with grant option;
    revoke all on function trg() from public; grant execute on function trg() to "\(role)";
    grant usage on type en to "\(role)"; revoke usage on type cmp from public; grant usage on schema a to "\(role)";
    grant usage on sequence own to "\(role)"; revoke create on schema public from public; grant select on v1 to public;
    revoke update on table co from "\(owner)"; alter default privileges for role "\(role)" grant select on tables to public;
    alter default privileges in schema a revoke execute on functions from public;
    alter default privileges grant all on types to "\(role)";
    alter schema a owner to "\(role)"; alter table par owner to "\(role)"; alter function et() owner to "\(role)";
    alter type en owner to "\(role)"; grant insert on par to "\(owner)"; set role "\(role)"; grant select on st to "\(owner)";
    reset role; alter table st owner to "\(role)";
    comment on table st is 'it''s'; comment on column st.status is 'col';
    comment on constraint st_status_check on st is 'con'; comment on constraint st_pkey on st is 'pk';
    comment on trigger t1 on st is 'trg'; comment on rule r2 on st is 'r'; comment on policy p1 on st is 'p';
    comment on function trg() is 'f'; comment on type cmp is 'ty'; comment on column cmp.a is 'cc';
    comment on domain dm is 'd'; comment on constraint dc2 on domain dm is 'dc'; comment on schema a is 's';
    comment on index i1 is 'i'; comment on statistics s1 is 'st'; comment on publication pub is 'pub';
    comment on collation ci is 'c';
    comment on cast (cmp as text) is 'cast'; comment on operator === (cmp,cmp) is 'op';
    comment on text search configuration tsc is 'tsc'; comment on aggregate agg(int) is 'agg'; comment on view v1 is 'v';
    comment on column v1.id is 'vc'; comment on procedure pr is 'pr';
    comment on sequence own is 'seq'; comment on schema public is null;
    comment on conversion conv is 'conv';
    """
  }
}
