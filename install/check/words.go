package check

import (
	"fmt"
	"strconv"
)

// text is a sentence in both languages.
type text struct{ en, zh string }

// many is a number of things, which English says with an s.
type many struct {
	n    int
	what string
}

func (m many) String() string {
	if m.n == 1 {
		return "1 " + m.what
	}
	return fmt.Sprintf("%d %ss", m.n, m.what)
}

// say fills a sentence in, in both languages.
func say(format string, args ...any) text {
	zh := make([]any, len(args))
	for i, a := range args {
		zh[i] = a
		if m, ok := a.(many); ok {
			zh[i] = strconv.Itoa(m.n)
		}
	}
	return text{plain(fmt.Sprintf(format, args...)), plain(fmt.Sprintf(chinese(format), zh...))}
}

// chinese gives a sentence of the report in Chinese.
func chinese(s string) string {
	if zh, ok := sentences[s]; ok {
		return zh
	}
	return s
}

// sentences are those of the judge, by the English ones.
var sentences = map[string]string{
	"host %s is no node of the cluster":                                        "主机 %s 不是集群节点",
	"node %s (%s) is not ready%s":                                              "节点 %s(%s)未就绪%s",
	"node %s (%s) is ready, kubelet %s":                                        "节点 %s(%s)已就绪,kubelet %s",
	"node %s (%s) is not in the inventory":                                     "节点 %s(%s)不在主机清单中",
	"%s of %d are ready":                                                       "%s/%d 个节点已就绪",
	"the nodes are not those of the inventory, all ready":                      "节点与主机清单不一致或未全部就绪",
	"kubectl describe node NODE says more; on the host: journalctl -u kubelet": "执行 kubectl describe node NODE 查看详情;在主机上执行 journalctl -u kubelet",

	"release %s/%s is not there":                              "发布 %s/%s 不存在",
	"release %s/%s is %s%s":                                   "发布 %s/%s 的状态为 %s%s",
	"release %s/%s is deployed, chart %s %s":                  "发布 %s/%s 已部署,Chart %s %s",
	"release %s/%s, which the bundle does not install, is %s": "非本安装包安装的发布 %s/%s 的状态为 %s",
	"%s deployed":                   "%s 个发布已部署",
	"not all releases are deployed": "并非所有发布都已部署",
	"helm -n NAMESPACE status RELEASE says more; bundle install goes on where it stopped": "执行 helm -n NAMESPACE status RELEASE 查看详情;再次执行 bundle install 会从中断处继续",

	"%s: %s":                           "%s:%s",
	"%s: %s%s":                         "%s:%s%s",
	"%s rolled out":                    "%s 个工作负载已就绪",
	"not all workloads are rolled out": "并非所有工作负载都已就绪",
	"kubectl -n NAMESPACE describe KIND NAME says more": "执行 kubectl -n NAMESPACE describe KIND NAME 查看详情",

	"%s, container %s (%s): %s%s":   "%s,容器 %s(%s):%s%s",
	"%s is pending%s":               "%s 处于 Pending%s",
	"%s has failed%s":               "%s 已失败%s",
	"%s is %s%s":                    "%s 的状态为 %s%s",
	"%s is in the unknown phase %q": "%s 处于未知阶段 %q",
	"%s is running":                 "%s 运行中",
	"%s has succeeded":              "%s 已成功结束",
	"%s run":                        "%s 个 Pod 运行正常",
	"not all pods run":              "并非所有 Pod 都运行正常",
	"kubectl -n NAMESPACE describe pod NAME says more; so does kubectl logs --previous": "执行 kubectl -n NAMESPACE describe pod NAME 或 kubectl logs --previous 查看详情",

	"%s is %s": "%s 的摘要为 %s",
	"%s runs as %s, which is not in the bundle: pod %s":             "%s 实际运行的是 %s,不在安装包中:Pod %s",
	"%s runs as %s, which is not in the bundle: pod %s and %d more": "%s 实际运行的是 %s,不在安装包中:Pod %s,另有 %d 个",
	"%s in use, all from the bundle":                                "%s 个镜像在用,全部来自安装包",
	"images run that are not the bundle's":                          "有运行中的镜像不属于安装包",
	"add them to the bundle, or remove what brought them":           "将其加入安装包,或移除引入它的组件",

	"nobody dialled the node ports":           "未检查 NodePort",
	"%s:%d answers (service %s/%s)":           "%s:%d 可访问(服务 %s/%s)",
	"%s:%d does not answer (service %s/%s)%s": "%s:%d 无法访问(服务 %s/%s)%s",
	"%s answer":                 "%s 个 NodePort 均可访问",
	"not all node ports answer": "并非所有 NodePort 都可访问",
	"kubectl get endpointslices -A shows which services have no pods; a firewall between here and the nodes looks the same": "执行 kubectl get endpointslices -A 查看哪些服务没有 Pod;本机与节点之间的防火墙也会造成同样现象",

	"nobody asked the registry":               "未检查镜像仓库",
	"%s on %s does not give out %s%s":         "主机 %[2]s 上的 %[1]s 无法提供 %[3]s%[4]s",
	"%s on %s gives out %s":                   "主机 %[2]s 上的 %[1]s 可提供 %[3]s",
	"the registry answers on %s":              "镜像仓库在 %s 台主机上正常应答",
	"the registry does not answer everywhere": "镜像仓库并非处处可用",
	"on the host: systemctl status bundle-registry, journalctl -u bundle-registry": "在主机上执行 systemctl status bundle-registry、journalctl -u bundle-registry",
}

// words are those of the page.
var words = map[string]string{
	"Acceptance report":                  "验收报告",
	"accepted":                           "验收通过",
	"not accepted":                       "验收未通过",
	"accepted with the remarks below":    "有保留意见通过(见备注)",
	"hosts ready":                        "台主机就绪",
	"releases":                           "个 Helm 发布",
	"workloads":                          "个工作负载",
	"images in use":                      "个在用镜像",
	"checks passed":                      "项检查通过",
	"time of installing":                 "安装用时",
	"Bundle":                             "安装包",
	"Index digest":                       "索引摘要",
	"Signed by":                          "签名者",
	"verified before the install":        "安装前已校验",
	"not checked":                        "未检查",
	"Cluster":                            "集群",
	"Checked at":                         "检查时间",
	"Installed":                          "安装时间",
	"runs":                               "次执行",
	"Checklist":                          "检查项",
	"passed":                             "项通过",
	"not passed":                         "项不通过",
	"failed":                             "失败",
	"left out":                           "已跳过",
	"to be noted":                        "项需注意",
	"What was checked":                   "检查内容",
	"Result":                             "结果",
	"Customer confirms":                  "客户确认",
	"pass":                               "通过",
	"fail":                               "不通过",
	"warning":                            "注意",
	"skipped":                            "未检查",
	"Conclusion":                         "验收结论",
	"Remarks":                            "备注",
	"Delivered by":                       "交付方(实施工程师)",
	"Accepted by the customer":           "客户方(验收代表)",
	"Name, title":                        "姓名、职务",
	"Organisation":                       "单位",
	"Signature":                          "签字",
	"Date":                               "日期",
	"Hosts":                              "主机",
	"Host":                               "主机",
	"Roles":                              "角色",
	"Node":                               "节点",
	"State":                              "状态",
	"System":                             "操作系统",
	"Runtime":                            "运行时",
	"missing":                            "缺失",
	"NotReady":                           "未就绪",
	"Helm releases":                      "Helm 发布",
	"Release":                            "发布",
	"Namespace":                          "命名空间",
	"Chart":                              "Chart 包",
	"App version":                        "应用版本",
	"not of this bundle":                 "非本安装包",
	"deployed":                           "已部署",
	"Workloads":                          "工作负载",
	"Workload":                           "工作负载",
	"Kind":                               "类型",
	"Ready":                              "就绪",
	"rolled out":                         "已就绪",
	"not rolled out":                     "未就绪",
	"Images that run":                    "运行中的镜像",
	"compared with the bundle by digest": "按摘要与安装包比对",
	"Image":                              "镜像",
	"Pods":                               "Pod 数",
	"of the bundle":                      "与安装包一致",
	"not of the bundle":                  "不属于安装包",
	"How the install went":               "安装过程",
	"steps":                              "个步骤",
	"the time between them is left out":  "两次执行之间的时间不计",
	"Step":                               "步骤",
	"Time":                               "时间",
	"Took":                               "用时",
	"done":                               "完成",
	"started":                            "未完成",
	"pending":                            "未执行",
	"Written by bundle check from what the cluster and its hosts answered at the time above.": "由 bundle check 根据集群与主机在上述时间的实际应答生成。",
}
