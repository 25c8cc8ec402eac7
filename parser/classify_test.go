package parser

import (
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// classes is what every statement node of the grammar is, by its name in the tree, with one example of its text.
var classes = map[string]struct {
	class   Class
	command string
	text    string
}{
	"select_stmt":                      {ClassRead, "SELECT", "SELECT 1"},
	"insert_stmt":                      {ClassWrite, "INSERT", "INSERT INTO t VALUES (1)"},
	"update_stmt":                      {ClassWrite, "UPDATE", "UPDATE t SET a = 1"},
	"delete_stmt":                      {ClassWrite, "DELETE", "DELETE FROM t"},
	"merge_stmt":                       {ClassWrite, "MERGE", "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE"},
	"copy_stmt":                        {ClassCopyFrom, "COPY", "COPY t FROM STDIN"},
	"truncate_stmt":                    {ClassTruncate, "TRUNCATE TABLE", "TRUNCATE t, s.u"},
	"transaction_stmt":                 {ClassTransaction, "BEGIN", "BEGIN"},
	"variable_set_stmt":                {ClassSession, "SET", "SET a = 1"},
	"variable_show_stmt":               {ClassRead, "SHOW", "SHOW a"},
	"constraints_set_stmt":             {ClassSession, "SET CONSTRAINTS", "SET CONSTRAINTS ALL DEFERRED"},
	"discard_stmt":                     {ClassSession, "DISCARD ALL", "DISCARD ALL"},
	"listen_stmt":                      {ClassSession, "LISTEN", "LISTEN a"},
	"unlisten_stmt":                    {ClassSession, "UNLISTEN", "UNLISTEN a"},
	"notify_stmt":                      {ClassSession, "NOTIFY", "NOTIFY a, 'b'"},
	"load_stmt":                        {ClassSession, "LOAD", "LOAD 'a'"},
	"prepare_stmt":                     {ClassPrepare, "PREPARE", "PREPARE a AS SELECT 1"},
	"deallocate_stmt":                  {ClassPrepare, "DEALLOCATE", "DEALLOCATE a"},
	"declare_cursor_stmt":              {ClassCursor, "DECLARE CURSOR", "DECLARE a CURSOR FOR SELECT 1"},
	"close_portal_stmt":                {ClassCursor, "CLOSE CURSOR", "CLOSE a"},
	"fetch_stmt":                       {ClassRead, "FETCH", "FETCH a"},
	"explain_stmt":                     {ClassRead, "EXPLAIN", "EXPLAIN SELECT 1"},
	"execute_stmt":                     {ClassOpaque, "EXECUTE", "EXECUTE a"},
	"do_stmt":                          {ClassOpaque, "DO", "DO 'BEGIN END'"},
	"call_stmt":                        {ClassOpaque, "CALL", "CALL a()"},
	"refresh_mat_view_stmt":            {ClassOpaque, "REFRESH MATERIALIZED VIEW", "REFRESH MATERIALIZED VIEW a"},
	"vacuum_stmt":                      {ClassMaintenance, "VACUUM", "VACUUM t"},
	"check_point_stmt":                 {ClassMaintenance, "CHECKPOINT", "CHECKPOINT"},
	"reindex_stmt":                     {ClassMaintenance, "REINDEX", "REINDEX TABLE t"},
	"cluster_stmt":                     {ClassMaintenance, "CLUSTER", "CLUSTER t"},
	"lock_stmt":                        {ClassMaintenance, "LOCK TABLE", "LOCK TABLE t"},
	"alter_system_stmt":                {ClassMaintenance, "ALTER SYSTEM", "ALTER SYSTEM SET a = 1"},
	"create_schema_stmt":               {ClassDDL, "CREATE SCHEMA", "CREATE SCHEMA s"},
	"create_stmt":                      {ClassDDL, "CREATE TABLE", "CREATE TABLE t (a int)"},
	"create_foreign_table_stmt":        {ClassDDL, "CREATE FOREIGN TABLE", "CREATE FOREIGN TABLE t (a int) SERVER s"},
	"create_table_as_stmt":             {ClassDDL, "CREATE TABLE AS", "CREATE TABLE t AS SELECT 1"},
	"create_table_space_stmt":          {ClassDDL, "CREATE TABLESPACE", "CREATE TABLESPACE a LOCATION '/a'"},
	"drop_table_space_stmt":            {ClassDDL, "DROP TABLESPACE", "DROP TABLESPACE a"},
	"alter_table_space_options_stmt":   {ClassDDL, "ALTER TABLESPACE", "ALTER TABLESPACE a SET (seq_page_cost = 1)"},
	"alter_table_move_all_stmt":        {ClassDDL, "ALTER TABLE", "ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b"},
	"create_extension_stmt":            {ClassDDL, "CREATE EXTENSION", "CREATE EXTENSION a"},
	"alter_extension_stmt":             {ClassDDL, "ALTER EXTENSION", "ALTER EXTENSION a UPDATE"},
	"alter_extension_contents_stmt":    {ClassDDL, "ALTER EXTENSION", "ALTER EXTENSION a ADD TABLE t"},
	"create_fdw_stmt":                  {ClassDDL, "CREATE FOREIGN DATA WRAPPER", "CREATE FOREIGN DATA WRAPPER a"},
	"alter_fdw_stmt":                   {ClassDDL, "ALTER FOREIGN DATA WRAPPER", "ALTER FOREIGN DATA WRAPPER a OPTIONS (x 'y')"},
	"create_foreign_server_stmt":       {ClassDDL, "CREATE SERVER", "CREATE SERVER a FOREIGN DATA WRAPPER b"},
	"alter_foreign_server_stmt":        {ClassDDL, "ALTER SERVER", "ALTER SERVER a VERSION '1'"},
	"create_user_mapping_stmt":         {ClassDDL, "CREATE USER MAPPING", "CREATE USER MAPPING FOR a SERVER b"},
	"alter_user_mapping_stmt":          {ClassDDL, "ALTER USER MAPPING", "ALTER USER MAPPING FOR a SERVER b OPTIONS (user 'c')"},
	"drop_user_mapping_stmt":           {ClassDDL, "DROP USER MAPPING", "DROP USER MAPPING FOR a SERVER b"},
	"import_foreign_schema_stmt":       {ClassDDL, "IMPORT FOREIGN SCHEMA", "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c"},
	"create_policy_stmt":               {ClassDDL, "CREATE POLICY", "CREATE POLICY a ON t"},
	"alter_policy_stmt":                {ClassDDL, "ALTER POLICY", "ALTER POLICY a ON t TO b"},
	"create_am_stmt":                   {ClassDDL, "CREATE ACCESS METHOD", "CREATE ACCESS METHOD a TYPE INDEX HANDLER b"},
	"create_trig_stmt":                 {ClassDDL, "CREATE TRIGGER", "CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"},
	"create_event_trig_stmt":           {ClassDDL, "CREATE EVENT TRIGGER", "CREATE EVENT TRIGGER a ON ddl_command_end EXECUTE FUNCTION f()"},
	"alter_event_trig_stmt":            {ClassDDL, "ALTER EVENT TRIGGER", "ALTER EVENT TRIGGER a DISABLE"},
	"create_plang_stmt":                {ClassDDL, "CREATE LANGUAGE", "CREATE LANGUAGE a HANDLER b"},
	"create_role_stmt":                 {ClassDDL, "CREATE ROLE", "CREATE ROLE a"},
	"alter_role_stmt":                  {ClassDDL, "ALTER ROLE", "ALTER ROLE a LOGIN"},
	"alter_role_set_stmt":              {ClassDDL, "ALTER ROLE", "ALTER ROLE a SET b = c"},
	"drop_role_stmt":                   {ClassDDL, "DROP ROLE", "DROP ROLE a"},
	"create_seq_stmt":                  {ClassDDL, "CREATE SEQUENCE", "CREATE SEQUENCE a"},
	"alter_seq_stmt":                   {ClassDDL, "ALTER SEQUENCE", "ALTER SEQUENCE a RESTART"},
	"define_stmt":                      {ClassDDL, "CREATE TYPE", "CREATE TYPE a"},
	"create_domain_stmt":               {ClassDDL, "CREATE DOMAIN", "CREATE DOMAIN a AS int"},
	"create_op_class_stmt":             {ClassDDL, "CREATE OPERATOR CLASS", "CREATE OPERATOR CLASS a FOR TYPE b USING btree AS OPERATOR 1 <"},
	"create_op_family_stmt":            {ClassDDL, "CREATE OPERATOR FAMILY", "CREATE OPERATOR FAMILY a USING btree"},
	"alter_op_family_stmt":             {ClassDDL, "ALTER OPERATOR FAMILY", "ALTER OPERATOR FAMILY a USING btree DROP OPERATOR 1 (int, int)"},
	"drop_stmt":                        {ClassDDL, "DROP TABLE", "DROP TABLE t"},
	"comment_stmt":                     {ClassDDL, "COMMENT", "COMMENT ON TABLE t IS 'x'"},
	"sec_label_stmt":                   {ClassDDL, "SECURITY LABEL", "SECURITY LABEL ON TABLE t IS 'x'"},
	"index_stmt":                       {ClassDDL, "CREATE INDEX", "CREATE INDEX i ON t (a)"},
	"create_stats_stmt":                {ClassDDL, "CREATE STATISTICS", "CREATE STATISTICS s ON a, b FROM t"},
	"alter_stats_stmt":                 {ClassDDL, "ALTER STATISTICS", "ALTER STATISTICS s SET STATISTICS 1"},
	"create_function_stmt":             {ClassDDL, "CREATE FUNCTION", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"},
	"alter_function_stmt":              {ClassDDL, "ALTER FUNCTION", "ALTER FUNCTION f() STABLE"},
	"rename_stmt":                      {ClassDDL, "ALTER TABLE", "ALTER TABLE t RENAME TO u"},
	"alter_object_depends_stmt":        {ClassDDL, "ALTER FUNCTION", "ALTER FUNCTION f() DEPENDS ON EXTENSION e"},
	"alter_object_schema_stmt":         {ClassDDL, "ALTER TABLE", "ALTER TABLE t SET SCHEMA s"},
	"alter_owner_stmt":                 {ClassDDL, "ALTER FUNCTION", "ALTER FUNCTION f() OWNER TO a"},
	"alter_operator_stmt":              {ClassDDL, "ALTER OPERATOR", "ALTER OPERATOR + (int, int) SET (RESTRICT = NONE)"},
	"alter_type_stmt":                  {ClassDDL, "ALTER TYPE", "ALTER TYPE a SET (STORAGE = plain)"},
	"alter_enum_stmt":                  {ClassDDL, "ALTER TYPE", "ALTER TYPE a ADD VALUE 'b'"},
	"rule_stmt":                        {ClassDDL, "CREATE RULE", "CREATE RULE r AS ON INSERT TO t DO INSTEAD UPDATE u SET a = 1"},
	"composite_type_stmt":              {ClassDDL, "CREATE TYPE", "CREATE TYPE a AS (b int)"},
	"create_enum_stmt":                 {ClassDDL, "CREATE TYPE", "CREATE TYPE a AS ENUM ('b')"},
	"create_range_stmt":                {ClassDDL, "CREATE TYPE", "CREATE TYPE a AS RANGE (subtype = int)"},
	"view_stmt":                        {ClassDDL, "CREATE VIEW", "CREATE VIEW v AS SELECT 1"},
	"createdb_stmt":                    {ClassDDL, "CREATE DATABASE", "CREATE DATABASE d"},
	"alter_database_stmt":              {ClassDDL, "ALTER DATABASE", "ALTER DATABASE d SET TABLESPACE t"},
	"alter_database_refresh_coll_stmt": {ClassDDL, "ALTER DATABASE", "ALTER DATABASE d REFRESH COLLATION VERSION"},
	"alter_database_set_stmt":          {ClassDDL, "ALTER DATABASE", "ALTER DATABASE d SET a = 1"},
	"dropdb_stmt":                      {ClassDDL, "DROP DATABASE", "DROP DATABASE d"},
	"create_conversion_stmt":           {ClassDDL, "CREATE CONVERSION", "CREATE CONVERSION c FOR 'a' TO 'b' FROM f"},
	"create_cast_stmt":                 {ClassDDL, "CREATE CAST", "CREATE CAST (a AS b) WITHOUT FUNCTION"},
	"create_transform_stmt":            {ClassDDL, "CREATE TRANSFORM", "CREATE TRANSFORM FOR a LANGUAGE b (FROM SQL WITH FUNCTION f(internal))"},
	"drop_owned_stmt":                  {ClassDDL, "DROP OWNED", "DROP OWNED BY a"},
	"reassign_owned_stmt":              {ClassDDL, "REASSIGN OWNED", "REASSIGN OWNED BY a TO b"},
	"alter_collation_stmt":             {ClassDDL, "ALTER COLLATION", "ALTER COLLATION c REFRESH VERSION"},
	"alter_domain_stmt":                {ClassDDL, "ALTER DOMAIN", "ALTER DOMAIN d DROP NOT NULL"},
	"alter_default_privileges_stmt":    {ClassDDL, "ALTER DEFAULT PRIVILEGES", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO a"},
	"grant_stmt":                       {ClassDDL, "GRANT", "GRANT SELECT ON t TO a"},
	"grant_role_stmt":                  {ClassDDL, "GRANT ROLE", "GRANT a TO b"},
	"alter_table_stmt":                 {ClassDDL, "ALTER TABLE", "ALTER TABLE t ADD a int"},
	"alter_tsdictionary_stmt":          {ClassDDL, "ALTER TEXT SEARCH DICTIONARY", "ALTER TEXT SEARCH DICTIONARY d (a = b)"},
	"alter_tsconfiguration_stmt":       {ClassDDL, "ALTER TEXT SEARCH CONFIGURATION", "ALTER TEXT SEARCH CONFIGURATION c DROP MAPPING FOR a"},
	"create_publication_stmt":          {ClassDDL, "CREATE PUBLICATION", "CREATE PUBLICATION p"},
	"alter_publication_stmt":           {ClassDDL, "ALTER PUBLICATION", "ALTER PUBLICATION p SET (publish = 'insert')"},
	"create_subscription_stmt":         {ClassDDL, "CREATE SUBSCRIPTION", "CREATE SUBSCRIPTION s CONNECTION 'host=a' PUBLICATION p"},
	"alter_subscription_stmt":          {ClassDDL, "ALTER SUBSCRIPTION", "ALTER SUBSCRIPTION s DISABLE"},
	"drop_subscription_stmt":           {ClassDDL, "DROP SUBSCRIPTION", "DROP SUBSCRIPTION s"},
	// Never at the top of what a client sends: parts of other statements.
	"raw_stmt":              {ClassOpaque, "RAW STMT", ""},
	"set_operation_stmt":    {ClassOpaque, "SET OPERATION STMT", ""},
	"return_stmt":           {ClassOpaque, "RETURN STMT", ""},
	"plassign_stmt":         {ClassOpaque, "PLASSIGN STMT", ""},
	"replica_identity_stmt": {ClassOpaque, "REPLICA IDENTITY STMT", ""},
}

// TestEveryStatementIsClassified: each node of the grammar that is a statement has its class, and its example has that
// node at its top.
func TestEveryStatementIsClassified(t *testing.T) {
	p := New(Options{})
	oneof := (&pg.Node{}).ProtoReflect().Descriptor().Oneofs().Get(0)
	found := 0
	for i := range oneof.Fields().Len() {
		fd := oneof.Fields().Get(i)
		name := string(fd.Name())
		if !strings.HasSuffix(name, "_stmt") {
			continue
		}
		found++
		want, ok := classes[name]
		if !ok {
			t.Errorf("%s: no class is expected of it", name)
			continue
		}
		if want.text == "" {
			if got := classify(emptyNode(fd)); got.class != want.class || got.command != want.command {
				t.Errorf("%s: class %s %q", name, classNames[got.class], got.command)
			}
			continue
		}
		tree, err := pg.Parse(want.text)
		if err != nil {
			t.Errorf("%s: %q: %v", name, want.text, err)
			continue
		}
		if got := topNode(tree.Stmts[0].Stmt); got != name {
			t.Errorf("%s: %q is a %s", name, want.text, got)
		}
		st := p.Parse(want.text).Statements[0]
		if st.Class != want.class || st.Command != want.command {
			t.Errorf("%q: %s %q, want %s %q", want.text, classNames[st.Class], st.Command, classNames[want.class], want.command)
		}
		if st.AltersSchema != (st.Class == ClassDDL) {
			t.Errorf("%q: alters schema: %v", want.text, st.AltersSchema)
		}
		if st.Class == ClassDDL && len(st.Objects) == 0 && name != "alter_default_privileges_stmt" {
			t.Errorf("%q: no objects", want.text)
		}
	}
	if found != len(classes) {
		t.Errorf("%d statement nodes in the grammar, %d expected", found, len(classes))
	}
}

// TestUnknownNodesAreOpaque: any other node at the top, an empty one too, may do anything.
func TestUnknownNodesAreOpaque(t *testing.T) {
	oneof := (&pg.Node{}).ProtoReflect().Descriptor().Oneofs().Get(0)
	for i := range oneof.Fields().Len() {
		fd := oneof.Fields().Get(i)
		n := emptyNode(fd)
		if _, known := classes[string(fd.Name())]; !known && classify(n).class != ClassOpaque {
			t.Errorf("%s is %s", fd.Name(), classNames[classify(n).class])
		}
		// An empty node of any kind is no reason to fall over.
		src := source{"x", []token{{0, 1, kindWord}}}
		statement(n, src, &marks{})
	}
	if got := classify(nil); got.class != ClassOpaque {
		t.Errorf("nothing is %s", classNames[got.class])
	}
}

func emptyNode(fd protoreflect.FieldDescriptor) *pg.Node {
	n := &pg.Node{}
	n.ProtoReflect().Set(fd, n.ProtoReflect().NewField(fd))
	return n
}

func topNode(n *pg.Node) string {
	m := n.ProtoReflect()
	return string(m.WhichOneof(m.Descriptor().Oneofs().Get(0)).Name())
}
