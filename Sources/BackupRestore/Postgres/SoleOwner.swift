extension DatabaseProperties {
  /// The role that owns all that a dump of this database makes, where nothing in it needs another one's rights; nil: there is none.
  ///
  /// A trusted extension and what belongs to it is nobody's here; `public` is restored by itself. Only what the role could not have made
  /// alone rules it out: it cannot choose to be loaded by a superuser. Before 15 `public` belongs to the bootstrap superuser.
  static func soleOwner(_ connection: Connection) async throws -> SoleOwner? {
    if connection.serverMajor < 15 { return nil }
    let rows = try await connection.query(owners)
    return try rows.first.map { SoleOwner(role: try $0.text(0), ofDatabaseOwner: rows.compactMap { $0[1] }) }
  }

  private static let owners = """
    WITH member AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'),
    other AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_|^information_schema$'),
    object(class, oid, owner, acl) AS (
      SELECT 'pg_catalog.pg_class'::regclass, oid, relowner, relacl FROM pg_catalog.pg_class
        WHERE relkind NOT IN ('t', 'i', 'I', 'c') AND relnamespace NOT IN (SELECT oid FROM other) AND NOT EXISTS (SELECT
          FROM pg_catalog.pg_depend l WHERE l.classid = 'pg_catalog.pg_class'::regclass AND l.objid = pg_class.oid
          AND l.refclassid = 'pg_catalog.pg_class'::regclass AND l.deptype IN ('a', 'i') AND relkind = 'S')
      UNION ALL SELECT 'pg_catalog.pg_namespace'::regclass, oid, nspowner, nspacl FROM pg_catalog.pg_namespace
        WHERE nspname !~ '^pg_|^information_schema$|^public$'
      UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid, proowner, proacl FROM pg_catalog.pg_proc
        WHERE pronamespace NOT IN (SELECT oid FROM other)
      UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid, typowner, typacl FROM pg_catalog.pg_type
        WHERE typnamespace NOT IN (SELECT oid FROM other) AND typcategory <> 'A' AND typtype <> 'm'
          AND (typrelid = 0 OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = typrelid AND c.relkind = 'c'))
      UNION ALL SELECT 'pg_catalog.pg_operator'::regclass, oid, oprowner, NULL FROM pg_catalog.pg_operator
      UNION ALL SELECT 'pg_catalog.pg_collation'::regclass, oid, collowner, NULL FROM pg_catalog.pg_collation
      UNION ALL SELECT 'pg_catalog.pg_conversion'::regclass, oid, conowner, NULL FROM pg_catalog.pg_conversion
      UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::regclass, oid, stxowner, NULL FROM pg_catalog.pg_statistic_ext
      UNION ALL SELECT 'pg_catalog.pg_ts_config'::regclass, oid, cfgowner, NULL FROM pg_catalog.pg_ts_config
      UNION ALL SELECT 'pg_catalog.pg_ts_dict'::regclass, oid, dictowner, NULL FROM pg_catalog.pg_ts_dict
      UNION ALL SELECT 'pg_catalog.pg_publication'::regclass, oid, pubowner, NULL FROM pg_catalog.pg_publication
      UNION ALL SELECT 'pg_catalog.pg_default_acl'::regclass, oid, defaclrole, NULL FROM pg_catalog.pg_default_acl),
    own AS (
      SELECT * FROM object o WHERE (oid >= 16384 OR class = 'pg_catalog.pg_namespace'::regclass)
        AND NOT EXISTS (SELECT FROM member m WHERE m.classid = o.class AND m.objid = o.oid)
      UNION ALL SELECT 'pg_catalog.pg_largeobject'::regclass, oid, lomowner, lomacl FROM pg_catalog.pg_largeobject_metadata),
    privileged(class, oid) AS (
      SELECT 'pg_catalog.pg_proc'::regclass, p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
        WHERE l.lanname IN ('c', 'internal') OR p.proleakproof OR EXISTS (SELECT FROM unnest(p.proconfig) s
          JOIN pg_catalog.pg_settings g ON lower(split_part(s, '=', 1)) = g.name WHERE g.context = 'superuser')
      UNION ALL SELECT 'pg_catalog.pg_opclass'::regclass, oid FROM pg_catalog.pg_opclass
      UNION ALL SELECT 'pg_catalog.pg_opfamily'::regclass, oid FROM pg_catalog.pg_opfamily
      UNION ALL SELECT 'pg_catalog.pg_cast'::regclass, oid FROM pg_catalog.pg_cast WHERE castmethod = 'b'
      UNION ALL SELECT 'pg_catalog.pg_transform'::regclass, oid FROM pg_catalog.pg_transform
      UNION ALL SELECT 'pg_catalog.pg_language'::regclass, oid FROM pg_catalog.pg_language
      UNION ALL SELECT 'pg_catalog.pg_am'::regclass, oid FROM pg_catalog.pg_am
      UNION ALL SELECT 'pg_catalog.pg_ts_parser'::regclass, oid FROM pg_catalog.pg_ts_parser
      UNION ALL SELECT 'pg_catalog.pg_ts_template'::regclass, oid FROM pg_catalog.pg_ts_template
      UNION ALL SELECT 'pg_catalog.pg_event_trigger'::regclass, oid FROM pg_catalog.pg_event_trigger
      UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid FROM pg_catalog.pg_foreign_data_wrapper
      UNION ALL SELECT 'pg_catalog.pg_foreign_server'::regclass, oid FROM pg_catalog.pg_foreign_server
      UNION ALL SELECT 'pg_catalog.pg_publication'::regclass, oid FROM pg_catalog.pg_publication WHERE puballtables
      UNION ALL SELECT 'pg_catalog.pg_publication'::regclass, pnpubid FROM pg_catalog.pg_publication_namespace
      UNION ALL SELECT 'pg_catalog.pg_class'::regclass, oid FROM pg_catalog.pg_class WHERE reltablespace NOT IN (0, 1664)
      UNION ALL SELECT 'pg_catalog.pg_class'::regclass, c.oid FROM pg_catalog.pg_attribute t
        JOIN pg_catalog.pg_class c ON c.oid = t.attrelid, pg_catalog.aclexplode(t.attacl) a WHERE a.grantor <> c.relowner
      UNION ALL SELECT o.class, o.oid FROM own o, pg_catalog.aclexplode(o.acl) a WHERE a.grantor <> o.owner),
    owners AS (SELECT CASE WHEN owner = 'pg_database_owner'::regrole THEN datdba ELSE owner END AS owner
      FROM own, pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    SELECT r.rolname, replace(i.type, 'statistics object', 'statistics') || ' ' || i.identity
    FROM (SELECT min(owner) AS owner FROM owners HAVING min(owner) = max(owner)) o
    JOIN pg_catalog.pg_roles r ON r.oid = o.owner AND NOT r.rolsuper AND r.rolname !~ '^pg_'
    LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'public'
    LEFT JOIN own d ON d.owner = 'pg_database_owner'::regrole
    LEFT JOIN LATERAL pg_catalog.pg_identify_object(d.class, d.oid, 0) i ON d.oid IS NOT NULL
    WHERE (n.oid IS NULL OR n.nspowner IN (r.oid, 'pg_database_owner'::regrole))
      AND NOT EXISTS (SELECT FROM privileged p WHERE p.oid >= 16384
        AND NOT EXISTS (SELECT FROM member m WHERE m.classid = p.class AND m.objid = p.oid))
      AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) a WHERE a.grantor <> n.nspowner)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_seclabel)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
        WHERE d.datname = pg_catalog.current_database())
      AND NOT EXISTS (SELECT FROM object o LEFT JOIN pg_catalog.pg_init_privs i
        ON i.classoid = o.class AND i.objoid = o.oid AND i.objsubid = 0
        WHERE o.class <> 'pg_catalog.pg_namespace'::regclass AND (o.oid < 16384 OR EXISTS (SELECT FROM member m WHERE m.classid = o.class AND m.objid = o.oid))
          AND o.acl::text IS DISTINCT FROM i.initprivs::text)
    ORDER BY 2
    """
}
