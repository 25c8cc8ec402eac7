package capture

// The API between proxy (session, transaction, commit) and this room. Refinements since it was agreed on:
//
//   - Querier's arguments are in TEXT format (types 0; every $n in our SQL carries a cast), results in binary format.
//   - Execution.Copy takes the payload of every CopyData the client sends (only for Plan.Capture == CaptureCopy; it may be left out).
//   - Plan.Finish (Hold implies nothing about it): Finish must be called although Text is unchanged. It is set for every held statement.
//   - Finish itself marks the session altered when st.AltersSchema or st.AltersSession is set, and so does an opaque statement;
//     Session.Altered and AlteredSchema are for statements that were not run through Finish (SET, ROLLBACK TO, ...).
//   - Replay.Params is left to the session, which has the bound parameters.
//   - Effect.Replay of a statement whose Changes are not empty (CREATE TABLE AS): play Replay first, then Changes.
//   - Text, where it is not st.Text, is UTF-8; a session in another client_encoding has to encode it back.
//
// Wanted by the session (from proxy's author; small additions, it compiles against them once they are there):
//
//   - Effect.Role string: the effective role (who.Role) where known; Effect.XID uint64: transaction id where known without asking (xmin), else 0.
//   - func (e *Execution) Ahead(ctx) (Effect, error): the effect of a statement with st.RefusesBlock (Replay{NoBlock: true}), before it is
//     sent: its record is sealed first, Finish is not called for it. Nothing may be queried in the client's session in it but learn.
//   - Appended columns of a client's own RETURNING under ParamValue: func ParamValue(oid uint32, format int16, data []byte, null bool) journal.Param stays as agreed.
