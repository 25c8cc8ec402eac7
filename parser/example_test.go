package parser

import "fmt"

func ExampleParser_Parse() {
	p := New(Options{})
	script := p.Parse("UPDATE stock SET qty = qty - $1, note = 'sold' WHERE item = $2 -- one sale")
	for _, st := range script.Statements {
		fmt.Println(st.Command, st.Targets[0].Name.Name, "by", st.Pinned)
		for _, a := range st.Assignments {
			fmt.Println(a.Column, "is a delta:", a.Intent == IntentDelta)
		}
		fmt.Println(st.Text[:st.SpliceAt] + " RETURNING *")
	}
	// Output:
	// UPDATE stock by [item]
	// qty is a delta: true
	// note is a delta: false
	// UPDATE stock SET qty = qty - $1, note = 'sold' WHERE item = $2 RETURNING *
}

func ExampleStatement_Redact() {
	p := New(Options{})
	st := p.Parse("CREATE USER bob PASSWORD 'hunter2' VALID UNTIL 'infinity'").Statements[0]
	fmt.Println(st.Redact())
	fmt.Println(st.ReplaceSecret("SCRAM-SHA-256$4096:salt$stored:server"))
	// Output:
	// CREATE USER bob PASSWORD '***' VALID UNTIL 'infinity'
	// CREATE USER bob PASSWORD 'SCRAM-SHA-256$4096:salt$stored:server' VALID UNTIL 'infinity'
}
