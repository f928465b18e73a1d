/// The kinds of objects: one query each, of a catalog, an OID, and what pg_dump would say about it. `pg_table_is_visible` is NULL of what was
/// dropped since the snapshot, of which the server would refuse to print a view or a rule.
extension SchemaReader {
  /// Columns in the order of their names, because a column that a parent table gained later has another place in a restored child.
  /// `pg_attver` is an option of the server's own, another in each table (15.20).
  var relations: String {
    """
    SELECT 'pg_class'::regclass, r.oid, concat_ws(' ', r.relpersistence, r.reloptions, t.spcname, r.relreplident, r.relrowsecurity,
      r.relforcerowsecurity, a.amname, \(flat("CASE WHEN r.relkind = 'p' THEN pg_get_partkeydef(r.oid) END")),
      \(flat("CASE WHEN r.relispartition THEN pg_get_expr(r.relpartbound, r.oid) END")),
      CASE WHEN r.reloftype <> 0 THEN format_type(r.reloftype, NULL) END,
      (SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = r.oid),
      (SELECT concat_ws(' ', v.srvname, \(sorted("f.ftoptions"))) FROM pg_foreign_table f JOIN pg_foreign_server v ON v.oid = f.ftserver
        WHERE f.ftrelid = r.oid), k.columns)
    FROM rel r LEFT JOIN pg_tablespace t ON t.oid = r.reltablespace LEFT JOIN pg_am a ON a.oid = r.relam
    LEFT JOIN (SELECT a.attrelid, string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
        a.attgenerated, a.attstorage, \(since(14, "a.attcompression")), coalesce(a.attstattarget, -1),
        translate(regexp_replace(a.attoptions::text, 'pg_attver=[0-9]+', ''), '{},', ''), \(sorted("a.attfdwoptions")),
        CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END), ',' ORDER BY a.attname COLLATE "C") AS columns
      FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attnum > 0 AND NOT a.attisdropped
        AND a.attrelid IN (SELECT oid FROM rel WHERE relkind IN ('r', 'p', 'f')) GROUP BY 1) k ON k.attrelid = r.oid
    WHERE r.relkind IN ('r', 'p', 'f')
    UNION ALL SELECT 'pg_class'::regclass, r.oid, concat_ws(' ', r.reloptions, t.spcname, \(flat(unnamed("CASE WHEN pg_table_is_visible(r.oid) IS NOT NULL THEN pg_get_viewdef(r.oid) END"))))
    FROM rel r LEFT JOIN pg_tablespace t ON t.oid = r.reltablespace WHERE r.relkind IN ('v', 'm')
    UNION ALL SELECT 'pg_class'::regclass, r.oid, concat_ws(' ', r.relpersistence, format_type(s.seqtypid, NULL), s.seqstart,
      s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle, d.refobjid::regclass, a.attname)
    FROM rel r JOIN pg_sequence s ON s.seqrelid = r.oid
    LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype IN ('a', 'i')
      AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
    LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    """
  }

  /// Constraints that a partition has from its table get new names at a restore, NOT NULL ones are in the column. What is on a member of an
  /// extension is not dumped, policies excepted. Whether children have a key is kept of what a partition has brought along when it was
  /// detached, and means nothing there (measured, 15.20).
  var partsOfRelations: String {
    """
    SELECT 'pg_class'::regclass, x.oid, concat_ws(' ', \(flat("pg_get_indexdef(x.oid)")), i.indisclustered, i.indisreplident, t.spcname,
      (SELECT string_agg(h.inhparent::regclass::text, ',') FROM pg_inherits h WHERE h.inhrelid = x.oid),
      (SELECT string_agg(concat(a.attnum, ' ', a.attstattarget), ',' ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = x.oid AND a.attstattarget >= 0))
    FROM pg_index i JOIN rel r ON r.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
    LEFT JOIN pg_tablespace t ON t.oid = x.reltablespace WHERE i.indisready AND (i.indisvalid OR r.relkind = 'p')
    UNION ALL SELECT 'pg_constraint'::regclass, c.oid, concat_ws(' ', \(flat("pg_get_constraintdef(c.oid)")),
      CASE WHEN c.contype = 'c' THEN c.connoinherit END)
    FROM pg_constraint c WHERE c.conparentid = 0 AND c.contype NOT IN ('t', 'n')
      AND (c.conrelid IN (SELECT oid FROM rel) OR c.contypid IN (SELECT oid FROM type))
    UNION ALL SELECT 'pg_attrdef'::regclass, d.oid, \(flat("pg_get_expr(d.adbin, d.adrelid)"))
    FROM pg_attrdef d JOIN rel r ON r.oid = d.adrelid
    UNION ALL SELECT 'pg_trigger'::regclass, t.oid, concat_ws(' ', \(flat("pg_get_triggerdef(t.oid)")), t.tgenabled)
    FROM pg_trigger t JOIN rel r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL SELECT 'pg_rewrite'::regclass, w.oid, concat_ws(' ', \(flat("CASE WHEN pg_table_is_visible(r.oid) IS NOT NULL THEN pg_get_ruledef(w.oid) END")), w.ev_enabled)
    FROM pg_rewrite w JOIN rel r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
    UNION ALL SELECT 'pg_policy'::regclass, p.oid, concat_ws(' ', p.polcmd, p.polpermissive,
      (SELECT string_agg(pg_get_userbyid(u), ',' ORDER BY pg_get_userbyid(u)) FROM unnest(p.polroles) u),
      \(flat("pg_get_expr(p.polqual, p.polrelid)")), '/', \(flat("pg_get_expr(p.polwithcheck, p.polrelid)")))
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN space n ON n.oid = c.relnamespace
    UNION ALL SELECT 'pg_statistic_ext'::regclass, x.oid,
      concat_ws(' ', \(flat("pg_get_statisticsobjdef(x.oid)")), coalesce(x.stxstattarget, -1))
    FROM pg_statistic_ext x JOIN rel r ON r.oid = x.stxrelid
    """
  }

  var routinesAndTypes: String {
    """
    SELECT 'pg_proc'::regclass, p.oid, concat_ws(' ', l.lanname, \(flat("pg_get_function_arguments(p.oid)")), '/',
      pg_get_function_result(p.oid), p.prosupport, p.prosrc, '/', p.probin, \(flat(since(14, "pg_get_function_sqlbody(p.oid)", else: "''"))),
      p.procost, p.prorows, p.prokind, p.prosecdef, p.proleakproof, p.proisstrict, p.proretset, p.provolatile, p.proparallel, p.proconfig,
      p.protrftypes::regtype[], g.aggregate)
    FROM pg_proc p JOIN space n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    LEFT JOIN LATERAL (SELECT concat_ws(' ', a.aggkind, a.aggnumdirectargs, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
      a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn, a.aggfinalextra, a.aggmfinalextra, a.aggfinalmodify,
      a.aggmfinalmodify, a.aggsortop::regoperator, a.aggtranstype::regtype, a.aggtransspace, a.aggmtranstype::regtype, a.aggmtransspace,
      a.agginitval, '/', a.aggminitval) AS aggregate FROM pg_aggregate a WHERE a.aggfnoid = p.oid) g ON p.prokind = 'a'
    UNION ALL SELECT 'pg_type'::regclass, t.oid, concat_ws(' ', t.typtype, t.typcategory, t.typispreferred, t.typdelim, t.typstorage,
      t.typnotnull, CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, \(flat("coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault)")),
      t.typcollation::regcollation, CASE WHEN t.typtype = 'b' THEN concat_ws(' ', t.typlen, t.typbyval, t.typalign, t.typinput, t.typoutput,
        t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze) END,
      (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
      (SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation), ','
        ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
      (SELECT concat_ws(' ', g.rngsubtype::regtype, g.rngcollation::regcollation, o.opcname, g.rngcanonical, g.rngsubdiff)
        FROM pg_range g JOIN pg_opclass o ON o.oid = g.rngsubopc WHERE g.rngtypid = t.oid))
    FROM type t
    """
  }

  /// Subscriptions are left out: a role that is no superuser neither dumps nor sees them. Of what is rare the name is enough.
  var others: String {
    let named = [
      ("pg_opclass", "opcnamespace"), ("pg_opfamily", "opfnamespace"), ("pg_conversion", "connamespace"),
      ("pg_ts_config", "cfgnamespace"),
      ("pg_ts_dict", "dictnamespace"), ("pg_ts_parser", "prsnamespace"), ("pg_ts_template", "tmplnamespace"),
    ].map { "UNION ALL SELECT '\($0)'::regclass, x.oid, '' FROM \($0) x JOIN space n ON n.oid = x.\($1)" }
    let global = ["pg_language", "pg_am", "pg_foreign_data_wrapper", "pg_transform"].map {
      "UNION ALL SELECT '\($0)'::regclass, x.oid, '' FROM \($0) x WHERE x.oid >= 16384"
    }
    let published = since(
      15,
      """
      concat_ws(' ', \(flat("pg_get_expr(p.prqual, p.prrelid)")), (SELECT string_agg(a.attname, ',' ORDER BY a.attname)
        FROM pg_attribute a WHERE a.attrelid = p.prrelid AND a.attnum = ANY (p.prattrs)))
      """, else: "''")
    return """
      SELECT 'pg_namespace'::regclass, oid, '' FROM space WHERE nspname <> 'public'
      UNION ALL SELECT 'pg_event_trigger'::regclass, e.oid, concat_ws(' ', e.evtevent, e.evtenabled, e.evtfoid::regprocedure,
        \(sorted("e.evttags"))) FROM pg_event_trigger e
      UNION ALL SELECT 'pg_publication'::regclass, p.oid, (to_jsonb(p) - '{oid,pubname,pubowner}'::text[])::text FROM pg_publication p
      UNION ALL SELECT 'pg_publication_rel'::regclass, p.oid, \(published) FROM pg_publication_rel p
      \(since(15, "UNION ALL SELECT 'pg_publication_namespace'::regclass, p.oid, '' FROM pg_publication_namespace p", else: ""))
      UNION ALL SELECT 'pg_collation'::regclass, x.oid,
        (to_jsonb(x) - '{oid,collname,collnamespace,collowner,collversion,collencoding}'::text[])::text
      FROM pg_collation x JOIN space n ON n.oid = x.collnamespace
      UNION ALL SELECT 'pg_cast'::regclass, x.oid, concat_ws(' ', x.castfunc::regprocedure, x.castcontext, x.castmethod)
      FROM pg_cast x WHERE x.oid >= 16384
      UNION ALL SELECT 'pg_operator'::regclass, x.oid, concat_ws(' ', x.oprcode, x.oprrest, x.oprjoin, x.oprcanmerge, x.oprcanhash,
        x.oprcom::regoperator, x.oprnegate::regoperator) FROM pg_operator x JOIN space n ON n.oid = x.oprnamespace WHERE x.oprcode <> 0
      UNION ALL SELECT 'pg_foreign_server'::regclass, x.oid, \(sorted("x.srvoptions")) FROM pg_foreign_server x
      UNION ALL SELECT 'pg_default_acl'::regclass, x.oid, \(list("x.defaclacl")) FROM pg_default_acl x
      \((named + global).joined(separator: "\n"))
      """
  }

  /// pg_dump leaves those of what is inherited out.
  var comments: String {
    """
    SELECT 'comment', concat_ws(' ', i.type, i.identity), d.description
    FROM object o JOIN pg_description d ON d.classoid = o.class AND d.objoid = o.oid, pg_identify_object(o.class, o.oid, d.objsubid) i
    WHERE i.identity IS NOT NULL
      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE o.class = 'pg_constraint'::regclass AND c.oid = o.oid AND NOT c.conislocal)
      AND NOT EXISTS (SELECT FROM pg_trigger t WHERE o.class = 'pg_trigger'::regclass AND t.oid = o.oid AND t.tgparentid <> 0)
    """
  }

  /// What everybody may in `public`, as `list` has it.
  private var usualOfPublic: String { since(15, "PUBLIC USAGE f", else: "PUBLIC CREATE f,PUBLIC USAGE f") }

  /// Owners and grants that are not the usual ones; of the system's objects and of extensions' members what was changed since. Large
  /// objects may be millions, and are left out.
  var grants: String {
    """
    SELECT 'grant', concat_ws(' ', i.type, i.identity), concat_ws(' ', g.owner, g.grants) FROM (
      SELECT w.class, w.oid, w.sub, CASE WHEN w.mine AND pg_get_userbyid(w.owner) <> u.owner THEN pg_get_userbyid(w.owner) END AS owner,
        nullif(\(list("coalesce(w.acl, acldefault(w.kind, w.owner))", without: "CASE WHEN w.mine THEN 0 ELSE w.owner END")),
          \(list("coalesce(p.initprivs, acldefault(w.kind, w.owner))", without: "CASE WHEN w.mine THEN 0 ELSE w.owner END"))) AS grants
      FROM (SELECT w.*, w.oid >= 16384 AND NOT EXISTS (SELECT FROM member m WHERE m.classid = w.class AND m.objid = w.oid) AS mine FROM (
        SELECT 'pg_class'::regclass AS class, oid, 0 AS sub, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char" AS kind, relowner AS owner,
          relacl AS acl FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
          AND (relnamespace = 'pg_catalog'::regnamespace OR relnamespace IN (SELECT oid FROM space)) AND relpersistence <> 't'
        UNION ALL SELECT 'pg_class'::regclass, a.attrelid, a.attnum, 'c', NULL, a.attacl
        FROM pg_attribute a JOIN rel r ON r.oid = a.attrelid WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
        UNION ALL SELECT 'pg_proc'::regclass, oid, 0, 'f', proowner, proacl FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace OR pronamespace IN (SELECT oid FROM space)
        UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, 'n', nspowner, nspacl FROM space WHERE nspname <> 'public'
        UNION ALL SELECT 'pg_type'::regclass, oid, 0, 'T', typowner, typacl FROM type
        UNION ALL SELECT 'pg_language'::regclass, oid, 0, 'l', lanowner, lanacl FROM pg_language
        UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, 'F', fdwowner, fdwacl FROM pg_foreign_data_wrapper
        UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 0, 'S', srvowner, srvacl FROM pg_foreign_server) w
      ) w CROSS JOIN usual u
      LEFT JOIN pg_init_privs p ON p.classoid = w.class AND p.objoid = w.oid AND p.objsubid = w.sub
      WHERE (w.acl IS DISTINCT FROM p.initprivs OR (w.mine AND pg_get_userbyid(w.owner) <> u.owner))
        AND NOT EXISTS (SELECT FROM made m WHERE m.classid = w.class AND m.objid = w.oid)) g,
      pg_identify_object(g.class, g.oid, g.sub) i
    WHERE g.owner IS NOT NULL OR g.grants IS NOT NULL
    UNION ALL SELECT 'grant', 'usual owner', owner FROM usual WHERE owner IS NOT NULL
    -- public by its name: where somebody made it anew it is no object of the system's any more, and in the copy it is again.
    UNION ALL SELECT 'grant', 'schema public', g.grants
    FROM space n, LATERAL (SELECT \(list("coalesce(n.nspacl, acldefault('n', n.nspowner))", without: "n.nspowner")) AS grants) g
    WHERE n.nspname = 'public' AND g.grants <> \(SQL.literal(usualOfPublic))
    -- The schema public under another name comes back as any other, without what everybody may in public (measured): not compared.
    UNION ALL SELECT 'grant', concat_ws(' ', i.type, i.identity), NULL
    FROM pg_namespace n, pg_identify_object('pg_namespace'::regclass, n.oid, 0) i WHERE n.oid = 2200 AND n.nspname <> 'public'
    """
  }
}
