package bundlefile

// whole uses every field of the grammar once.
const whole = `# A shop, whole.
apiVersion: bundle/v1
kind: Bundle
name: shop
version: 1.10
from: registry.example.com/base/ackdistro:v1.20.4-ack-2
platforms: [linux/amd64, linux/arm64/v8]
images:
  - nginx
  - ref: registry.example.com/shop/api:1.4@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    optional: true
imageLists:
  - lists/images.txt
charts:
  - charts/shop
  - oci://registry.example.com/charts/db:2.0.1
  - path: charts/api
    values: [values.yaml, values-prod.yaml]
    profiles:
      - [values-small.yaml]
      - values-large.yaml
    release: api
    namespace: shop
  - oci: oci://registry.example.com/charts/cache
    version: 3.1.0
  - name: ingress
    repo: https://charts.example.com
    version: "4.1"
files:
  - {src: manifests, dst: manifests}
  - {src: bin/tool, dst: bin/, mode: "0755"}
env:
  MODE: prod
  DEBUG: false
labels:
  org.example/owner: shop
steps:
  - namespace: shop
  - namespace: {name: other}
  - id: charts.api
    phase: first
    summary: The API
    helm:
      release: api
      chart: charts/api
      namespace: shop
      version: 1.4.0
      values: values-prod.yaml
      set: {image.tag: "1,2", replicas: 3}
      createNamespace: true
      atomic: true
      timeout: 10m
  - helm: {release: db, chart: db, set: ["a=1", "b={x,y}"], setString: {v: 08}, wait: true, upgradeOnly: true}
  - apply: manifests/*.yaml
  - apply: {files: [manifests/a.yaml, manifests/b.yaml], namespace: shop, recursive: true, serverSide: true}
  - create: {files: manifests/once.yaml, namespace: shop, recursive: true}
  - delete: {files: manifests/old.yaml}
  - delete: {resource: configmap, names: [a, b], namespace: shop}
  - scale: {name: api, namespace: shop, replicas: 0}
  - scale: {resource: statefulset, name: db, replicas: 3}
  - taint: {nodes: master0, remove: "node-role.kubernetes.io/master:NoSchedule"}
  - taint: {selector: pool=gpu, add: "gpu=yes:NoExecute", overwrite: true}
  - label: {nodes: master0, set: {lb: nginx}}
  - label: {nodes: [n1, n2], remove: [old], overwrite: true}
  - label: {resource: namespace, names: shop, set: {team: a}}
  - annotate: {resource: storageclass, all: true, set: {storageclass.kubernetes.io/is-default-class: true}}
  - patch: {resource: storageclass, name: fast, type: json, patch: '[{"op":"add","path":"/x","value":1}]'}
  - waitCRD: addonconfigurations.example.com
  - waitCRD: {name: addonconfiguration, interval: 2s, timeout: 2001s}
  - waitRollout: {name: api, namespace: shop, timeout: 90s}
  - waitRollout: {resource: daemonset, name: agent}
  - helmUninstall: {release: open-local, namespace: kube-system, timeout: 1m30s}
  - exec: echo "all $(date)"
  - exec:
      run: |
        set -e
        rm -rf /tmp/shop
      dir: scripts
      timeout: 30s
      idempotent: true
  - exec: {run: rm -rf /tmp/x, destructive: false}
`
