package pack

import (
	"encoding/json"
	"testing"
)

// FuzzInventory: what comes from a site cannot break a build, and says only
// what a layout can say.
func FuzzInventory(f *testing.F) {
	const d = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	f.Add([]byte(`{"schemaVersion":1,"bundles":[{"name":"a","version":"1","indexDigest":"` + d + `"}],"blobs":[{"digest":"` + d + `","size":3}]}`))
	f.Add([]byte(`{"schemaVersion":1,"bundles":[{"name":"a","version":"1","indexDigest":"` + d + `"}],"blobs":[{"digest":"` + d + `","size":3,"frames":[12],"packed":"` + d + `"}]}`))
	f.Add([]byte(`{"schemaVersion":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := ParseInventory(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(inv)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseInventory(again); err != nil {
			t.Errorf("accepted once and not again: %v\n%s", err, again)
		}
	})
}
