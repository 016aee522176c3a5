package plan

import "bundle/manifest"

// defaultTimeout is used for kinds that the table does not name.
const defaultTimeout = 600

// timeouts are the seconds that a step of a kind may take on one host, where
// the input names none.
var timeouts = map[string]int{
	KindPreflight:     300,
	KindBundlePlace:   4 * 3600, // a bundle of 60 GB over 50 Mbit/s takes 3 hours
	KindRegistryStart: 300,
	KindRegistryTrust: 300,
	KindRootfsPull:    3600,
	KindFilesWrite:    600,
	KindHostScript:    1800,
	KindHostName:      60,
	KindKubeadmInit:   1200,
	KindKubeadmJoin:   1200,
	KindNodeLabels:    300,
	KindCheck:         1800,
	KindKubeadmReset:  900,
	KindSiteClean:     600,
	KindRootfsRemove:  600,

	manifest.StepHelmRelease:    1200,
	manifest.StepHelmUninstall:  600,
	manifest.StepKubectlApply:   300,
	manifest.StepKubectlCreate:  300,
	manifest.StepKubectlDelete:  600,
	manifest.StepNamespace:      120,
	manifest.StepScale:          120,
	manifest.StepTaint:          120,
	manifest.StepLabel:          120,
	manifest.StepAnnotate:       120,
	manifest.StepPatch:          120,
	manifest.StepWaitCRD:        2001, // what the loops that it replaces wait
	manifest.StepWaitDeployment: 1200,
	manifest.StepExec:           3600,
}

// withTimeout fills in the timeout of a step that has none.
func withTimeout(s manifest.Step) manifest.Step {
	if s.TimeoutSeconds <= 0 {
		s.TimeoutSeconds = defaultTimeout
		if t, ok := timeouts[s.Kind]; ok {
			s.TimeoutSeconds = t
		}
	}
	return s
}
