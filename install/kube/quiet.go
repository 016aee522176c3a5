package kube

import (
	"context"
	"sync"

	"github.com/go-logr/logr"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"

	helmkube "helm.sh/helm/v4/pkg/kube"
)

// silence makes the Kubernetes libraries of this program mute: what matters
// reaches us as errors, and they would write over a progress display. Helm's
// name in managed fields is ours, whatever the binary is called.
var silence = sync.OnceFunc(func() {
	klog.SetLogger(logr.Discard())
	utilruntime.ErrorHandlers = []utilruntime.ErrorHandler{
		func(context.Context, error, string, ...any) {},
	}
	helmkube.ManagedFieldsManager = fieldManager
})

// oneAtATime lets a function that people wrote be called from several
// goroutines.
func oneAtATime(f func(string)) func(string) {
	if f == nil {
		return func(string) {}
	}
	var mu sync.Mutex
	return func(s string) {
		mu.Lock()
		defer mu.Unlock()
		f(s)
	}
}
