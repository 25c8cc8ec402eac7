// Package pgtest runs conversations: text files that say which frames a client sends and until when it listens. Each is run
// twice, on a plain PostgreSQL and through pgproxy in front of an equal one, and everything received must be the same:
//
//	testdata/x.txt --parse--> steps --run--> PostgreSQL            -> transcript \
//	                                 --run--> pgproxy -> PostgreSQL -> transcript /  equal, or the test fails
//
// PostgreSQL is the oracle: no expected output is written down. What cannot be equal by its nature (process ids, cancel keys,
// object ids) is masked in both transcripts; a conversation may mask more, with a reason.
//
// A conversation is a list of lines; words are bare, "quoted" as in Go, or `raw`. The file is a text/template with one
// function, repeat N TEXT.
//
//	# text                    a remark; it is shown in the transcript
//	only MAJOR                run on servers from this version on
//	mask REGEXP TEXT REASON   replace in both transcripts
//	setup SQL                 run it beforehand, past the proxy
//	conn NAME [K=V...]        talk on this connection from now on; opened with these parameters when first named
//	raw NAME                  the same, but nothing is sent: the conversation does its own start-up
//	startup 3.0 [K=V...]      a startup packet of that version, with these parameters
//	query TEXT | parse NAME TEXT [OID...] | bind PORTAL STATEMENT [VALUE|NULL...] | describe S|P NAME
//	execute PORTAL [MAX] | close S|P NAME | sync | flush | copydata TEXT | copydone | copyfail TEXT
//	call OID [VALUE...] | terminate | hex BYTES
//	until TYPE...             send what is queued, and receive up to a frame of each of these types, in turn
//	silence                   nothing more comes for a moment
//	end                       the server closes the connection
//	cancel NAME               ask for the cancellation of what runs on a connection
//	drop                      close the connection without a word
package pgtest
