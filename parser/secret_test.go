package parser

import (
	"strings"
	"testing"
)

// canary is a secret in every text below; nothing of it may be left after redaction.
const canary = "hunter2"

// secretTexts hold the canary in every place that a secret may have in SQL that PostgreSQL reads.
var secretTexts = []string{
	"CREATE ROLE bob PASSWORD 'hunter2'",
	"CREATE USER bob WITH ENCRYPTED PASSWORD 'hunter2' VALID UNTIL 'infinity'",
	"alter role bob password E'hunter2\\n'",
	"ALTER USER CURRENT_USER PASSWORD U&'hunter2'",
	"ALTER ROLE bob PASSWORD $$hunter2$$",
	"ALTER ROLE bob PASSWORD $x$hunter2$x$ CONNECTION LIMIT 3",
	"ALTER USER bob PASSWORD 'x'; ALTER ROLE bob PASSWORD 'hun'\n'hunter2'",
	"ALTER ROLE bob PASSWORD /* 'x' */ 'it''s hunter2'",
	"ALTER ROLE bob PASSWORD -- x\n 'hunter2'",
	"ALTER ROLE bob PASSWORD 'SCRAM-SHA-256$4096:hunter2$x:y'",
	"BEGIN; CREATE ROLE a PASSWORD 'hunter2'; COMMIT",
	"ALTER ROLE bob SET app.password = 'hunter2'",
	"ALTER ROLE bob SET app.secret TO hunter2",
	"ALTER DATABASE d SET app.api_key = 'hunter2'",
	"SET app.password = 'hunter2'",
	"SET LOCAL app.\"Password\" TO 'hunter2'",
	"SET app.token = hunter2, 'hunter2'",
	"ALTER SYSTEM SET primary_conninfo = 'host=x password=hunter2'",
	"ALTER SYSTEM SET primary_conninfo = 'host=x user=hunter2'",
	"ALTER SYSTEM SET ssl_passphrase_command = 'echo hunter2'",
	"CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'bob', password 'hunter2')",
	"ALTER USER MAPPING FOR bob SERVER s OPTIONS (SET password 'hunter2', ADD x 'hunter2')",
	"CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS (host 'h', passfile 'hunter2')",
	"CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (table_name 'x', \"auth\" 'hunter2')",
	"CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS (U&\"p\\0061ss\" 'hunter2')",
	"CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2' PUBLICATION p",
	"CREATE SUBSCRIPTION s CONNECTION 'host=h p\\061ssword=hunter2' PUBLICATION p",
	"ALTER SUBSCRIPTION s CONNECTION 'service=hunter2'",
	"SELECT * FROM dblink('host=h password=hunter2', 'select 1') AS t(a int)",
	"SELECT dblink_connect('c', 'postgresql://bob:hunter2@h/d')",
	"SELECT dblink_connect('c', 'host=h passWord = ''hunter2''')",
	"SELECT pgp_sym_encrypt(data, 'hunter2') FROM t",
	"UPDATE t SET p = crypt('hunter2', gen_salt('bf'))",
	"INSERT INTO t VALUES (crypt('hunter2', gen_salt('bf')))",
	"SELECT set_password('bob', 'hunter2')",
	"CALL set_user_password('bob', 'hunter2')",
	"SELECT exec('ALTER ROLE bob PASSWORD ''hunter2''')",
	"SELECT exec(format('ALTER ROLE %I PASSWORD %L', 'bob', 'hunter2'))",
	"SELECT exec('ALTER ROLE bob PASSWORD ' || quote_literal('hunter2'))",
	"PREPARE p AS SELECT exec('ALTER USER bob PASSWORD ''hunter2''')",
	"DO $$ BEGIN ALTER ROLE bob PASSWORD 'hunter2'; END $$",
	"DO 'BEGIN ALTER ROLE bob PASSWORD ''hunter2''; END'",
	"DO E'BEGIN ALTER ROLE bob PASSWORD \\'hunter2\\'; END'",
	"DO $$ BEGIN EXECUTE format('ALTER ROLE bob PASSWORD %L', 'hunter2'); END $$",
	"DO $$ DECLARE v text := 'hunter2'; BEGIN EXECUTE 'ALTER ROLE bob PASSWORD ' || quote_literal(v); END $$",
	"DO $$ BEGIN PERFORM dblink_connect('host=x password=hunter2'); END $$",
	"DO $$ BEGIN EXECUTE $q$ALTER ROLE bob PASSWORD 'hunter2'$q$; END $$",
	"DO $$ BEGIN /* the password is hunter2 */ NULL; END $$",
	"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE USER x PASSWORD 'hunter2'; END $$",
	"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE SUBSCRIPTION s CONNECTION 'user=hunter2' PUBLICATION p; END $$",
	"CREATE FUNCTION f() RETURNS void LANGUAGE sql SET app.password = 'hunter2' AS 'SELECT 1'",
	"CREATE OR REPLACE PROCEDURE p() LANGUAGE plpgsql AS $f$ BEGIN CREATE USER MAPPING FOR x SERVER y OPTIONS (password 'hunter2'); END $f$",
	"COPY t FROM PROGRAM 'curl -u bob:hunter2 http://x'",
	"COPY t TO PROGRAM 'PGPASSWORD=hunter2 psql'",
	"COPY (SELECT dblink('password=hunter2', 'x')) TO STDOUT",
	"SELECT 1 /* password: hunter2 */ + 2",
	"SELECT 1 -- secret hunter2\n + 2",
	"EXPLAIN SELECT dblink('host=x password=hunter2', 'select 1')",
	"INSERT INTO log VALUES ('ALTER ROLE bob PASSWORD ''hunter2''')",
	"INSERT INTO log VALUES ('postgres://bob:hunter2@host/db'), ('x')",
	"COMMENT ON ROLE bob IS 'password=hunter2'",
	"SELECT E'p\\x61ssword=hunter2'",
	"NOTIFY c, 'password=hunter2'", "SELECT U&'p!0061ssword=hunter2' UESCAPE '!'", "SELECT E'p\\141ssword=hunter2'", "SELECT E'p\\u0061ssword=hunter2'",
	"SELECT U&'p\\+000061ssword=hunter2'",
	"SELECT * FROM t WHERE a IN ('password=hunter2', 'x')",
	"EXECUTE p('password=hunter2')",
}

// unreadTexts hold the canary in texts that cannot be read, or that PostgreSQL would refuse.
var unreadTexts = []string{
	"ALTER ROLE bob PASSWORD hunter2", "ALTER ROLE bob PASSWORD 'hunter2", "ALTER ROLE bob PASSWRD 'hunter2'", "ALTER ROLE bob PASSWORD = 'hunter2'",
	"ALTER ROLE bob PASSWORD 'it's hunter2'", "ALTER ROLE bob PASSWORD 'a';hunter2'", "CREATE USER bob PASSWORD \"hunter2\"",
	"ALTER ROLE bob PASSWORD $$hunter2", "ALTER ROLE bob PASSWORD E'\\'hunter2", "ALTER ROL bob PASSWORD 'hunter2'", "ALTER ROLE bob PASSWORD 'x\x00hunter2'",
	"ALTER ROLE bob PASSWORD '\xff\xfehunter2'", "CREATE SUBSCRIPTION s CONNECTION 'host=x hunter2' PUBLCATION p", "SELECT 'a\\'', x; ALTER ROLE y PASSWORD 'hunter2'",
	"CREATE USER MAPPING FOR x SERVER y OPTIONS (password 'hunter2'", "SET app.password = hunter2 hunter2", "DO $$ ALTER ROLE x PASSWORD 'hunter2' $$ $$",
	"/* password hunter2", "-- password hunter2", "SELEC dblink('host=x password=hunter2')", "SELEC 'postgres://a:hunter2@b'", "x /* secret */ hunter2",
	"FOO U&'\\0070assword=hunter2'", "FOO 'hunter2", "SELECT crypt('hunter2' FROM", "PASSWORD hunter2", "password\nhunter2;", "bob's PASSWORD is hunter2",
}

func TestNoSecretIsLeft(t *testing.T) {
	p := New(Options{})
	for _, text := range secretTexts {
		s := p.Parse(text)
		if s.Unread != nil {
			t.Errorf("%q: %v", text, s.Unread)
			continue
		}
		all := ""
		for _, st := range s.Statements {
			r := st.Redact()
			all += r
			if strings.Contains(r, canary) {
				t.Errorf("%q is redacted to %q", text, r)
			}
			if again := p.Parse(r); again.Unread != nil {
				t.Errorf("%q: %q is no SQL: %v", text, r, again.Unread)
			}
			for i, span := range st.Secrets {
				if i > 0 && span.From < st.Secrets[i-1].To || span.From >= span.To || span.To > len(st.Text) {
					t.Errorf("%q: secrets %v", text, st.Secrets)
				}
			}
		}
		if !strings.Contains(all, "***") {
			t.Errorf("%q: nothing was redacted", text)
		}
		if r := RedactUnread(text); strings.Contains(r, canary) {
			t.Errorf("%q is redacted to %q as unread", text, r)
		}
		// Whatever is cut off, the canary may be in it.
		for i := range text {
			if r := RedactUnread(text[:i]); strings.Contains(r, canary) {
				t.Errorf("%q is redacted to %q as unread", text[:i], r)
			}
		}
	}
	for _, text := range unreadTexts {
		if r := RedactUnread(text); strings.Contains(r, canary) {
			t.Errorf("%q is redacted to %q", text, r)
		}
		if s := p.Parse(text); s.Unread != nil && strings.Contains(s.Unread.Error(), canary) {
			t.Errorf("%q: the reason is %q", text, s.Unread)
		}
	}
}

// TestNothingElseIsRedacted: ordinary text stays whole.
func TestNothingElseIsRedacted(t *testing.T) {
	p := New(Options{})
	for _, text := range []string{
		"UPDATE users SET password = $1 WHERE name = 'bob'", "SELECT password FROM users WHERE name = 'bob'", "INSERT INTO t VALUES ('a=b', 'x')",
		"CREATE TABLE users (name text DEFAULT 'x', password text)", "ALTER ROLE bob VALID UNTIL '2030-01-01'", "SET search_path = 'a'",
		"CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS (host 'h', port '1')", "DO $$ BEGIN PERFORM 'x'; END $$", "SELECT 'http://a.b/c?d=e@f'",
		"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT password FROM users WHERE name = 'x' $$", "ALTER ROLE bob PASSWORD NULL", "SELECT U&'\\00e4', E'\\xc3\\xa4\\n\\\\x41', E'\\u00e4'", "SET password_encryption = 'md5'",
	} {
		s := p.Parse(text)
		if s.Unread != nil {
			t.Errorf("%q: %v", text, s.Unread)
			continue
		}
		if r := s.Statements[0].Redact(); r != text {
			t.Errorf("%q is redacted to %q", text, r)
		}
	}
	for _, text := range []string{"SELECT 'x' FORM t", "UPDATE t SET a = 'b' WHERE", "DELETE t WHERE a = 'c'"} {
		if r := RedactUnread(text); r != text {
			t.Errorf("%q is redacted to %q", text, r)
		}
	}
}

func TestReplaceSecret(t *testing.T) {
	p := New(Options{})
	for text, want := range map[string]struct{ value, role, replaced string }{
		"CREATE USER bob PASSWORD 'it''s' LOGIN":       {"it's", "bob", "CREATE USER bob PASSWORD 'V' LOGIN"},
		"ALTER ROLE bob PASSWORD E'a\\tb'":             {"a\tb", "bob", "ALTER ROLE bob PASSWORD 'V'"},
		"ALTER USER \"B\" ENCRYPTED PASSWORD $$x$$":    {"x", "B", "ALTER USER \"B\" ENCRYPTED PASSWORD 'V'"},
		"ALTER USER a PASSWORD U&'d!0061' UESCAPE '!'": {"da", "a", "ALTER USER a PASSWORD 'V'"},
		" /* é */ ALTER USER a PASSWORD 'x'\n'y' ; ":   {"xy", "a", "ALTER USER a PASSWORD 'V'"},
	} {
		s := p.Parse(text)
		if s.Unread != nil || s.Statements[0].Password == nil {
			t.Errorf("%q: %v", text, s.Unread)
			continue
		}
		st := s.Statements[0]
		if st.Password.Value != want.value || st.Password.Role != want.role {
			t.Errorf("%q: %+v", text, st.Password)
		}
		if got := st.ReplaceSecret("V"); got != want.replaced {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	for _, text := range []string{"ALTER ROLE a PASSWORD 'md5aaaaaaaaaabbbbbbbbbbccccccccccdd'", "ALTER ROLE a PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$a:b'", "ALTER ROLE a PASSWORD NULL", "ALTER ROLE a LOGIN"} {
		if st := p.Parse(text).Statements[0]; st.Password != nil || st.ReplaceSecret("V") != text {
			t.Errorf("%q: %+v", text, st.Password)
		}
	}
}

// FuzzRedact: redaction survives anything, gives valid UTF-8, and what stands behind PASSWORD is gone.
func FuzzRedact(f *testing.F) {
	for _, text := range append(append(secretTexts, unreadTexts...), nasty...) {
		f.Add(text, "x")
	}
	p := New(Options{})
	f.Fuzz(func(t *testing.T, before, after string) {
		RedactUnread(before)
		for _, st := range p.Parse(before).Statements {
			st.Redact()
		}
		text := before + " ALTER ROLE bob PASSWORD 'hunter2' " + after
		if strings.Contains(before+after, "hunter") {
			return
		}
		if r := RedactUnread(text); strings.Contains(r, canary) {
			t.Errorf("%q is redacted to %q", text, r)
		}
		if strings.ContainsAny(before, `"'$`) {
			return // what was read may be a name, or a text, of any content
		}
		s := p.Parse(text)
		for _, st := range s.Statements {
			if r := st.Redact(); strings.Contains(r, canary) {
				t.Errorf("%q is redacted to %q", text, r)
			}
		}
	})
}

// TestSecretText: what a parameter's value tells about itself.
func TestSecretText(t *testing.T) {
	for value, want := range map[string]bool{
		"host=h password=hunter2": true, "postgresql://bob:hunter2@h/d": true, "ALTER ROLE bob PASSWORD 'hunter2'": true,
		"ALTER ROLE bob PASSWRD 'hunter2'": true, "hello": false, "https://example.org/a@b": false, "": false, "a = b": false,
	} {
		if got := SecretText(value); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	for text, want := range map[string]bool{
		"SELECT pgp_sym_encrypt(a, $1) FROM t": true, "SELECT set_config('app.password', $1, false)": true, "CALL set_password($1)": true,
		"SELECT set_config('app.color', $1, false)": false, "SELECT length($1)": false,
	} {
		if st := New(Options{}).Parse(text).Statements[0]; st.SecretCall != want {
			t.Errorf("%q: %v", text, st.SecretCall)
		}
	}
}

// TestClaims: what sets pgproxy.context is seen, and comments behind statements are kept.
func TestClaims(t *testing.T) {
	for text, want := range map[string]Claim{
		"SET pgproxy.context = 'a''b'":                             {Value: "a'b"},
		"set local PGPROXY.Context to $x$q$x$":                     {Value: "q", Local: true},
		"SET SESSION pgproxy.context = 7":                          {Value: "7"},
		"SELECT set_config('pgproxy.context', 'u=1', true)":        {Value: "u=1", Local: true},
		"SELECT pg_catalog.set_config('pgproxy.context',$2,false)": {Param: 2},
	} {
		st := New(Options{}).Parse(text).Statements[0]
		if st.Claim == nil || *st.Claim != want {
			t.Errorf("%q: %+v", text, st.Claim)
		}
	}
	script := New(Options{}).Parse("UPDATE t SET a = 1 /* x */ /*k='v'*/ ; SELECT 1 /* the password is x */; SELECT 2 -- c")
	for i, want := range []string{"/*k='v'*/", "", ""} {
		if got := script.Statements[i].Comment; got != want {
			t.Errorf("comment %d: %q", i, got)
		}
	}
	if got := script.Statements[0].RedactLiterals(); got != "UPDATE t SET a = '***'" {
		t.Errorf("%q", got)
	}
}
