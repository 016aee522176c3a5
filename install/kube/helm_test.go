package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"

	"bundle/manifest/chart"
	"bundle/manifest/step"
)

func TestHistoryTellsWhereAReleaseStands(t *testing.T) {
	for history, want := range map[string]string{
		"":                                     "absent",
		"deployed":                             "deployed good 1",
		"superseded deployed":                  "deployed good 2",
		"pending-install":                      "never",
		"failed":                               "never",
		"failed failed":                        "never",
		"failed pending-upgrade":               "never",
		"deployed pending-upgrade":             "pending good 1",
		"superseded pending-upgrade":           "pending good 1", // killed between the two records
		"superseded deployed pending-rollback": "pending good 2",
		"deployed superseded pending-rollback": "pending good 1",
		"deployed failed":                      "broken good 1",
		"superseded deployed failed failed":    "broken good 2",
		"uninstalled":                          "removed",
		"superseded uninstalling":              "uninstalling good 1",
		"unknown":                              "never",
		"superseded superseded":                "broken good 2",
		"superseded deployed failed pending-upgrade": "pending good 2",
	} {
		var list []*release.Release
		for i, s := range strings.Fields(history) {
			list = append(list, &release.Release{Version: i + 1, Info: &release.Info{Status: common.Status(s)}})
		}
		now := assess(list)
		got := map[state]string{stateAbsent: "absent", stateRemoved: "removed", stateDeployed: "deployed", stateBroken: "broken",
			stateNever: "never", statePending: "pending", stateUninstalling: "uninstalling"}[now.state]
		if now.good != nil {
			got += fmt.Sprintf(" good %d", now.good.Version)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", history, got, want)
		}
	}
}

func chartFS() fstest.MapFS {
	return fstest.MapFS{
		"charts/app/Chart.yaml":         {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")},
		"charts/app/values.yaml":        {Data: []byte("replicas: 1\n")},
		"charts/app/templates/cm.yaml":  {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\n")},
		"charts/values/site.yaml":       {Data: []byte("replicas: 3\nimage: {tag: a}\n")},
		"charts/values/more.yaml":       {Data: []byte("image: {name: b}\n")},
		"charts/values/broken.yaml":     {Data: []byte("- 1\n")},
		"charts/library/Chart.yaml":     {Data: []byte("apiVersion: v2\nname: library\nversion: 1.0.0\ntype: library\n")},
		"charts/incomplete/Chart.yaml":  {Data: []byte("apiVersion: v2\nname: incomplete\nversion: 1.0.0\ndependencies: [{name: redis, version: 1.0.0}]\n")},
		"charts/incomplete/values.yaml": {Data: []byte("a: 1\n")},
		"charts/incomplete/.helmignore": {Data: []byte("x\n")},
		"charts/nochart/values.yaml":    {Data: []byte("a: 1\n")},
	}
}

func TestValuesAreMergedAsHelmDoes(t *testing.T) {
	s := &session{Cluster: &Cluster{o: Options{Files: chartFS()}}}
	got, err := s.valuesOf(t.Context(), step.HelmRelease{Dir: "charts", Values: []string{"values/site.yaml", "values/more.yaml"},
		Set: []string{"replicas=5,list={a,b}", "image.tag=null"}})
	want := map[string]any{"replicas": 5.0, "list": []any{"a", "b"}, "image": map[string]any{"name": "b", "tag": nil}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, a := range []step.HelmRelease{
		{Values: []string{"charts/values/broken.yaml"}}, {Values: []string{"absent.yaml"}}, {Set: []string{"a"}}, {Values: []string{"../x"}},
	} {
		if _, err := s.valuesOf(t.Context(), a); !errors.Is(err, ErrInput) {
			t.Errorf("%v gave %v", a, err)
		}
	}
}

func TestChartOfAStepIsFoundOrNamed(t *testing.T) {
	s := &session{Cluster: &Cluster{o: Options{Files: chartFS(), Rootfs: "/r"}}}
	for _, a := range []step.HelmRelease{{Chart: "charts/app"}, {Chart: "./app/", Dir: "charts"}, {Chart: "/r/charts/app"}} {
		if c, err := s.chartOf(t.Context(), a); err != nil || c.Name != "app" {
			t.Errorf("%v gave %v, %v", a, c, err)
		}
	}
	for chart, want := range map[string]string{
		"charts/absent":        "the bundle has no charts/absent",
		"charts/nochart":       "chart charts/nochart is not a usable chart: ",
		"oci://reg/charts/app": "the bundle has no chart oci://reg/charts/app",
		"/elsewhere/app.tgz":   "/elsewhere/app.tgz lies outside of the root file system of the bundle",
		"../app":               "../app leads out of the root file system",
	} {
		_, err := s.chartOf(t.Context(), step.HelmRelease{Chart: chart})
		if !errors.Is(err, ErrInput) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s gave %v, want %q", chart, err, want)
		}
	}
}

// A chart of a bundle.yaml is in the bundle, and not among its files.
func TestChartThatIsNoFile(t *testing.T) {
	var asked []string
	s := &session{Cluster: &Cluster{o: Options{Files: chartFS(), Chart: func(_ context.Context, ref, version string) (*chart.Chart, error) {
		asked = append(asked, ref+" "+version)
		if strings.HasSuffix(ref, "absent") {
			return nil, fs.ErrNotExist
		}
		return chart.LoadFS(chartFS(), "charts/app")
	}}}}
	for _, a := range []step.HelmRelease{{Chart: "charts/shop", Version: "1.0.0"}, {Chart: "oci://reg/charts/shop"}, {Chart: "charts/app"}} {
		if c, err := s.chartOf(t.Context(), a); err != nil || c.Name != "app" {
			t.Errorf("%s gave %v, %v", a.Chart, c, err)
		}
	}
	if want := []string{"charts/shop 1.0.0", "oci://reg/charts/shop "}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q: what is a file is not asked for", asked, want)
	}
	for _, ref := range []string{"charts/absent", "oci://reg/charts/absent"} {
		if _, err := s.chartOf(t.Context(), step.HelmRelease{Chart: ref}); !errors.Is(err, ErrInput) || !strings.HasPrefix(err.Error(), "the bundle has no ") {
			t.Errorf("%s gave %v", ref, err)
		}
	}
}

func TestMarkOfARevisionChangesWithItsInput(t *testing.T) {
	s := &session{Cluster: &Cluster{o: Options{Files: chartFS()}}}
	c, err := s.chartOf(t.Context(), step.HelmRelease{Chart: "charts/app"})
	if err != nil {
		t.Fatal(err)
	}
	w := wish{chart: c, values: map[string]any{"b": 1, "a": 2}}
	same := wish{chart: c, values: map[string]any{"a": 2, "b": 1}}
	if w.mark() != same.mark() {
		t.Error("the order of keys matters")
	}
	if other := (wish{chart: c, values: map[string]any{"a": 2}}); w.mark() == other.mark() {
		t.Error("values do not matter")
	}
	changed, err := c.WithFile("values.yaml", []byte("replicas: 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	if other := (wish{chart: changed, values: w.values}); w.mark() == other.mark() {
		t.Error("the chart does not matter")
	}
}
