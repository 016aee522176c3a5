package web

import "encoding/base64"

// basic is the header of a user:password.
func basic(user string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(user)) }
