package kube

import (
	"encoding/json"
	"strings"
	"testing"
)

const addons = `{"metadata":{"name":"addons.platform.example.com"},
"spec":{"group":"platform.example.com","names":{"kind":"Addon","plural":"addons","singular":"addon","shortNames":["ad"]},"versions":[{"name":"v1","served":true}]},
"status":{"conditions":[{"type":"NamesAccepted","status":"True"},{"type":"Established","status":"True"}]}}`

func definitionOf(t *testing.T, text string) definition {
	t.Helper()
	var d definition
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDefinitionIsKnownByAnyOfItsNames(t *testing.T) {
	all := map[string]definition{"addons.platform.example.com": definitionOf(t, addons)}
	for _, name := range []string{
		"addons.platform.example.com", "addons", "addon", "Addon", "ADDONS", "ad", "addon.platform.example.com", "ad.Platform.example.com",
	} {
		if found, why := pick(all, name); found == nil || found.Metadata.Name != "addons.platform.example.com" {
			t.Errorf("%s: %v, %s", name, found, why)
		}
	}
	for _, name := range []string{"add", "addons.other.example.com", ""} {
		if found, _ := pick(all, name); found != nil {
			t.Errorf("%s found %v", name, found)
		}
	}
}

func TestAbsentDefinitionTellsWhatIsThere(t *testing.T) {
	if _, why := pick(nil, "addon"); why != "the cluster has no custom resource definitions" {
		t.Error(why)
	}
	all := map[string]definition{"addons.platform.example.com": definitionOf(t, addons)}
	if _, why := pick(all, "addonz"); !strings.HasSuffix(why, "close to it are addons.platform.example.com") {
		t.Error(why)
	}
	if _, why := pick(all, "widget"); why != "the cluster has 1 definitions but not this one" {
		t.Error(why)
	}
	clash := definitionOf(t, strings.ReplaceAll(addons, `{"type":"NamesAccepted","status":"True"},{"type":"Established","status":"True"}`,
		`{"type":"NamesAccepted","status":"False","reason":"PluralConflict","message":"\"addons\" is already in use"},{"type":"Established","status":"False","message":"not all names are accepted"}`))
	want := `addons.platform.example.com is there, but its names are not accepted: "addons" is already in use`
	if _, why := pick(map[string]definition{"a": clash}, "addon"); why != want {
		t.Errorf("got %s, want %s", why, want)
	}
	fresh := definitionOf(t, `{"metadata":{"name":"addons.platform.example.com"},"spec":{"names":{"plural":"addons"}}}`)
	if _, why := pick(map[string]definition{"a": fresh}, "addons"); !strings.HasSuffix(why, "the API server has not looked at it yet") {
		t.Error(why)
	}
}
