module example.org/relay/bench

go 1.26.0

require github.com/d--j/go-milter v0.10.1

require (
	github.com/emersion/go-message v0.18.2 // indirect
	golang.org/x/sys v0.49.0
	golang.org/x/text v0.28.0 // indirect
)
