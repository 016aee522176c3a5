package main

import (
	"errors"

	"bundle/archive"
	"bundle/archive/recovery"
	"bundle/install"
	"bundle/install/check"
	"bundle/install/host"
	"bundle/install/journal"
	"bundle/install/kube"
	"bundle/install/node"
	"bundle/install/node/agent"
	"bundle/install/plan"
	"bundle/install/preflight"
	"bundle/install/rehearse"
	"bundle/install/site"
	"bundle/internal/fetch"
	"bundle/manifest"
	"bundle/manifest/bundlefile"
	"bundle/manifest/chart"
	"bundle/manifest/cluster"
	"bundle/manifest/discover"
	"bundle/manifest/imagelist"
	"bundle/manifest/kubeadm"
	"bundle/manifest/kubefile"
	"bundle/manifest/lock"
	"bundle/manifest/rootfs"
	"bundle/pack"
	"bundle/pack/unpack"
	"bundle/registry/pull"
	"bundle/registry/push"
	"bundle/registry/serve"
	"bundle/registry/wire"
	"bundle/verify"
	"bundle/verify/policy"
	"bundle/verify/receipt"
	"bundle/verify/sign"
	"bundle/verify/walk"
)

// fault is one entry of the catalogue of what can go wrong: docs/errors.md,
// `bundle explain`, and the hint of an error that brings none of its own.
type fault struct {
	// id is in the JSON of errors and never changes.
	id string
	// exit is the exit code of such an error.
	exit int
	// is are the classes that the entry is about.
	is []error
	en faultText
	zh faultText
}

// faultText is a fault in one language, each in a sentence or two: what
// happened, why it happens, and what to do.
type faultText struct{ what, why, cure string }

// faultOf finds what the catalogue has about err. The first entry that fits
// counts, so the special ones come first.
func faultOf(err error) *fault {
	for i := range faults {
		for _, class := range faults[i].is {
			if errors.Is(err, class) {
				return &faults[i]
			}
		}
	}
	return nil
}

// faults is sorted by the way of a bundle: building, the file, trust, the
// registry, hosts, the cluster.
var faults = []fault{
	// Building.
	{
		id: "list-incomplete", exit: exitIncomplete, is: []error{pack.ErrIncomplete, discover.ErrMissing},
		en: faultText{
			"A chart or manifest needs an image that no list names.",
			"Packed like this, one image would be missing on site. The message names the image and the place that asks for it.",
			"Add the image to the image list, or let --discover add it. If it is really not needed, --allow-missing makes this a warning.",
		},
		zh: faultText{
			"Chart 或清单需要的镜像不在任何镜像列表中。",
			"照这样打包，现场就会缺少镜像。错误信息中给出了镜像名以及引用它的位置。",
			"把镜像加入镜像列表，或用 --discover 自动加入；确实不需要时用 --allow-missing 降为警告。",
		},
	},
	{
		id: "name-ambiguous", exit: exitUsage, is: []error{discover.ErrAmbiguous},
		en: faultText{
			"A name without a registry host means several different images.",
			"Two sources list the same repository and tag with different content, and on site both would answer to the short name.",
			"Remove one of the two, or write the full name with its host where it is used.",
		},
		zh: faultText{
			"不带仓库地址的名称对应多个不同的镜像。",
			"两个来源列出了相同的仓库名和标签，但内容不同，而现场的短名称只能对应其中一个。",
			"去掉其中一个，或在使用处写带仓库地址的完整名称。",
		},
	},
	{
		id: "kubefile-unsupported", exit: exitUsage, is: []error{kubefile.ErrUnsupported, kubefile.ErrDialect},
		en: faultText{
			"The Kubefile uses something that has another meaning in another sealer version, or that cannot be done while packaging.",
			"sealer's dialects of 0.5 and of 0.9 and later are read. What would run commands on the build machine, or would silently mean something else, is refused.",
			"Change the line that the message names, or say which dialect it is with --dialect.",
		},
		zh: faultText{
			"Kubefile 中的写法在不同 sealer 版本里含义不同，或无法在打包时完成。",
			"支持 sealer 0.5 与 0.9 及以后的写法；会在构建机上执行命令、或含义会悄悄改变的写法一律拒绝。",
			"修改错误信息指出的那一行，或用 --dialect 指明写法版本。",
		},
	},
	{
		id: "kubefile", exit: exitUsage, is: []error{kubefile.ErrKubefile},
		en: faultText{
			"A line of the Kubefile cannot be read.",
			"An instruction is unknown, incomplete, or names a file that is not in the context.",
			"Mend the line that the message names; docs/kubefile.md lists all instructions.",
		},
		zh: faultText{
			"Kubefile 中有一行无法解析。",
			"指令未知、不完整，或引用了上下文中不存在的文件。",
			"修正错误信息指出的那一行；全部指令见 docs/kubefile.md。",
		},
	},
	{
		id: "bundle-yaml", exit: exitUsage, is: []error{bundlefile.ErrBundleFile},
		en: faultText{
			"bundle.yaml cannot be read.",
			"A field is unknown or of the wrong type, or the YAML is broken.",
			"Mend the line that the message names; docs/bundle.schema.json lets an editor check the file while you type.",
		},
		zh: faultText{
			"bundle.yaml 无法解析。",
			"字段未知、类型不对，或 YAML 语法有误。",
			"修正错误信息指出的那一行；docs/bundle.schema.json 可让编辑器边写边检查。",
		},
	},
	{
		id: "image-list", exit: exitUsage, is: []error{imagelist.ErrList, manifest.ErrReference},
		en: faultText{
			"Something that should be an image reference is none.",
			"A line of an image list holds more than one word, forbidden characters, or half a digest.",
			"Mend the line that the message names: one [HOST/]NAME[:TAG][@DIGEST] on each.",
		},
		zh: faultText{
			"应为镜像引用的内容不是合法的镜像引用。",
			"镜像列表的某一行含有多个单词、非法字符或不完整的摘要。",
			"修正错误信息指出的那一行：每行一个 [HOST/]NAME[:TAG][@DIGEST]。",
		},
	},
	{
		id: "platform-name", exit: exitUsage, is: []error{manifest.ErrPlatform},
		en: faultText{
			"A platform is misspelt.",
			"It is OS/ARCH, with a variant where there are several.",
			"Write linux/amd64, linux/arm64 or linux/arm/v7; --platform takes several, with commas between.",
		},
		zh: faultText{
			"平台名写错了。",
			"格式为 OS/ARCH，有多种变体时再加变体名。",
			"写成 linux/amd64、linux/arm64 或 linux/arm/v7；--platform 可用逗号分隔多个。",
		},
	},
	{
		id: "platform", exit: exitFailed, is: []error{pull.ErrPlatform},
		en: faultText{
			"An image does not exist for the platform that was asked for.",
			"Many images are published for amd64 only.",
			"Ask with --platform for what there is (linux/amd64 and linux/arm64 are usual), or take another image.",
		},
		zh: faultText{
			"镜像没有所要求的平台版本。",
			"许多镜像只发布 amd64。",
			"用 --platform 指定实际存在的平台（常见为 linux/amd64 与 linux/arm64），或换用其他镜像。",
		},
	},
	{
		id: "lock", exit: exitUsage, is: []error{lock.ErrLock, lock.ErrVersion},
		en: faultText{
			"The lock file cannot be used.",
			"It was edited by hand, merged badly, or written by a newer version of this tool.",
			"Take it from version control again, or resolve everything anew with --update-lock.",
		},
		zh: faultText{
			"锁文件无法使用。",
			"文件被手工改过、合并出错，或由更新版本的工具写成。",
			"从版本库恢复该文件，或用 --update-lock 重新解析全部内容。",
		},
	},
	{
		id: "chart-dependency", exit: exitUsage, is: []error{chart.ErrDependency},
		en: faultText{
			"A chart needs another chart that is not in its charts folder.",
			"What the other one would need cannot be known, so the bundle could not be complete.",
			"Run `helm dependency build` in the chart's folder, then build again.",
		},
		zh: faultText{
			"Chart 依赖的另一个 Chart 不在其 charts 目录中。",
			"无法得知被依赖的 Chart 需要什么，因此无法保证离线包完整。",
			"在该 Chart 目录执行 helm dependency build 后重新构建。",
		},
	},
	{
		id: "chart-render", exit: exitUsage, is: []error{chart.ErrRender, chart.ErrValues},
		en: faultText{
			"A chart does not render with its values.",
			"A required value is not set, a value has the wrong type, or a template has an error. Charts are rendered to find every image they need.",
			"Give the values that the site will use with --values or --profile; the message names template and line.",
		},
		zh: faultText{
			"Chart 用当前 values 渲染失败。",
			"缺少必填值、值类型不对，或模板有误。渲染 Chart 是为了找出它需要的全部镜像。",
			"用 --values 或 --profile 给出现场将使用的值；错误信息中有模板和行号。",
		},
	},
	{
		id: "chart", exit: exitUsage, is: []error{chart.ErrChart, chart.ErrUnsafe},
		en: faultText{
			"What was given as a chart is none, or is not safe to unpack.",
			"Chart.yaml is missing or wrong, the archive is cut off, or it reaches out of its own folder.",
			"Check it with `helm lint`, and package it anew with `helm package`.",
		},
		zh: faultText{
			"给出的 Chart 无效，或解包不安全。",
			"缺少或写错 Chart.yaml、压缩包不完整，或内容越出自身目录。",
			"用 helm lint 检查，再用 helm package 重新打包。",
		},
	},
	{
		id: "yaml", exit: exitUsage, is: []error{discover.ErrSyntax, discover.ErrLimit},
		en: faultText{
			"A manifest that should be searched for images is not YAML, or is larger than any manifest should be.",
			"A template left its braces behind, or the file is something else.",
			"Look at the file that the message names; files that are no manifests do not belong into a manifests folder.",
		},
		zh: faultText{
			"要在其中查找镜像的清单不是 YAML，或大得不合常理。",
			"模板花括号未渲染，或文件根本不是清单。",
			"检查错误信息指出的文件；不是清单的文件不要放入 manifests 目录。",
		},
	},
	{
		id: "build-input", exit: exitUsage, is: []error{pack.ErrInput},
		en: faultText{
			"Something that the build was given cannot be used.",
			"A file, folder or flag is not what it should be; the message says which.",
			"Mend what the message names and run the same command again.",
		},
		zh: faultText{
			"构建的输入无法使用。",
			"某个文件、目录或参数不符合要求，错误信息中已指明。",
			"按错误信息修正后重新执行同一命令。",
		},
	},
	// Fetching.
	{
		id: "unauthorized", exit: exitFailed, is: []error{wire.ErrUnauthorized},
		en: faultText{
			"A registry denies access.",
			"There are no credentials for it, they are wrong or expired, or the image does not exist: many registries do not tell these apart.",
			"Log in with `docker login HOST`, or name a config.json with --registry-config.",
		},
		zh: faultText{
			"镜像仓库拒绝访问。",
			"没有凭据、凭据错误或过期，或镜像不存在（许多仓库不区分这几种情况）。",
			"执行 docker login HOST，或用 --registry-config 指定 config.json。",
		},
	},
	{
		id: "not-found", exit: exitFailed, is: []error{wire.ErrNotFound},
		en: faultText{
			"A registry has no such image, tag or blob.",
			"The name or tag is misspelt, was removed upstream, or lies elsewhere by now.",
			"Check the name; --mirror HOST=ADDR or --from fetch it from where it is.",
		},
		zh: faultText{
			"镜像仓库中没有该镜像、标签或数据块。",
			"名称或标签写错、上游已删除，或已迁移到别处。",
			"核对名称；用 --mirror HOST=ADDR 或 --from 从实际所在处获取。",
		},
	},
	{
		id: "stalled", exit: exitFailed, is: []error{wire.ErrStalled},
		en: faultText{
			"A server stopped sending in the middle and did not go on.",
			"The network or a proxy in between drops long connections.",
			"Run the same command again: it goes on in the middle of the blob.",
		},
		zh: faultText{
			"服务器传输中途停止，长时间没有数据。",
			"网络或中间代理会中断长连接。",
			"重新执行同一命令，会从该数据块中断处继续。",
		},
	},
	{
		id: "unavailable", exit: exitFailed, is: []error{wire.ErrUnavailable},
		en: faultText{
			"A registry cannot be reached, or only gave temporary errors until the last try.",
			"The network is down, a name does not resolve, a certificate is not trusted, or the registry limits the rate.",
			"Run the same command again later; it goes on where it was. --ca trusts another certificate, --mirror takes another way.",
		},
		zh: faultText{
			"镜像仓库无法访问，或直到最后一次重试都返回临时错误。",
			"网络中断、域名无法解析、证书不受信任，或仓库限流。",
			"稍后重新执行同一命令，会从中断处继续；--ca 信任其他证书，--mirror 换一条路。",
		},
	},
	{
		id: "refused", exit: exitFailed, is: []error{wire.ErrRefused, push.ErrSparse},
		en: faultText{
			"A registry understood the request and will not do it.",
			"It does not allow the name, a quota is used up, or it wants every platform of an image while the bundle carries some.",
			"Ask the registry's administrator; a bundle built for all platforms of the image is taken by the strictest registries.",
		},
		zh: faultText{
			"镜像仓库理解请求但拒绝执行。",
			"名称不被允许、配额用尽，或仓库要求镜像的全部平台而离线包只带了一部分。",
			"联系仓库管理员；包含镜像全部平台的离线包可被最严格的仓库接受。",
		},
	},
	{
		id: "upstream-wrong", exit: exitFailed, is: []error{pull.ErrDigest, pull.ErrInvalid, pull.ErrUnsupported},
		en: faultText{
			"A registry or local source gave something that is not what it should be.",
			"The bytes do not have the digest that names them, a manifest is malformed, or it is of a kind from long ago (Docker schema 1).",
			"Take the image from another source with --mirror or --from, or push it upstream anew.",
		},
		zh: faultText{
			"镜像仓库或本地来源给出的内容不正确。",
			"数据与摘要不符、清单格式错误，或是早已废弃的格式（Docker schema 1）。",
			"用 --mirror 或 --from 换一个来源，或在上游重新推送该镜像。",
		},
	},
	{
		id: "pull-file", exit: exitUsage, is: []error{fetch.ErrNoFile, fetch.ErrExists},
		en: faultText{
			"A bundle cannot be pulled like this.",
			"The name in the registry is an image or something else that is no bundle pushed as a file, or another file has the name here.",
			"bundle push --as-file puts one there; where the name is taken, move the file away or say another one with -o.",
		},
		zh: faultText{
			"无法这样拉取离线包。",
			"仓库中的名称是镜像或其他内容，而不是以文件形式推送的离线包；或本地已有同名的其他文件。",
			"用 bundle push --as-file 推送离线包；本地重名时移走该文件，或用 -o 换一个名称。",
		},
	},
	{
		id: "push-target", exit: exitUsage, is: []error{push.ErrTarget, push.ErrCollision},
		en: faultText{
			"Images cannot be pushed to this place like this.",
			"The address is no registry, or two different images would get one name under the prefix.",
			"Write HOST[:PORT][/PREFIX]; choose another prefix where names collide.",
		},
		zh: faultText{
			"无法这样推送到该位置。",
			"地址不是镜像仓库，或两个不同的镜像在该前缀下会重名。",
			"按 HOST[:PORT][/PREFIX] 书写；重名时换一个前缀。",
		},
	},
	// The file.
	{
		id: "not-a-bundle", exit: exitUsage, is: []error{archive.ErrFormat},
		en: faultText{
			"The file is not a bundle.",
			"It is another kind of file, an image of `docker save`, or its very first bytes are broken.",
			"Check the name. `bundle build --from docker-archive:FILE` packs what `docker save` wrote.",
		},
		zh: faultText{
			"该文件不是离线包。",
			"它是其他类型的文件、docker save 的镜像包，或开头字节已损坏。",
			"核对文件名。docker save 的文件可用 bundle build --from docker-archive:FILE 打包。",
		},
	},
	{
		id: "newer-format", exit: exitUsage, is: []error{archive.ErrVersion},
		en: faultText{
			"The bundle was written in a newer format than this tool reads.",
			"It was built with a newer version of the tool.",
			"Use the version of the tool that came with the bundle, or a newer one.",
		},
		zh: faultText{
			"离线包的格式比本工具支持的更新。",
			"它由更新版本的工具构建。",
			"使用随离线包一同交付的工具版本或更新版本。",
		},
	},
	{
		id: "damaged", exit: exitDamaged, is: []error{
			verify.ErrDamaged, archive.ErrDamaged, archive.ErrDigest, archive.ErrUnexpected,
			serve.ErrDamaged, rehearse.ErrDamaged, walk.ErrMalformed, walk.ErrLimit,
		},
		en: faultText{
			"Bytes of the bundle are not those that were signed.",
			"The copy broke on the way: a bad sector, a stick pulled out too early, a transfer that was cut off. Or somebody changed it.",
			"Copy the bundle again and compare its size with the source's. `bundle verify` names the images that are hit.",
		},
		zh: faultText{
			"离线包的内容与签名时不一致（已损坏）。",
			"拷贝途中出错：坏扇区、U 盘过早拔出、传输中断；也可能有人改动过。",
			"重新拷贝并与源文件比较大小；bundle verify 会指出受影响的镜像。",
		},
	},
	{
		id: "base-missing", exit: exitIncomplete, is: []error{archive.ErrAbsent},
		en: faultText{
			"The file is a delta or a volume, and what it leans on is not here.",
			"A delta leaves out what its base holds; a volume holds a part only.",
			"Name the base and every delta or volume on the command line, in any order.",
		},
		zh: faultText{
			"该文件是增量包或分卷，缺少它所依赖的文件。",
			"增量包不含基础包已有的内容；分卷只含一部分内容。",
			"在命令行中同时给出基础包和全部增量包或分卷，顺序不限。",
		},
	},
	{
		id: "volume-size", exit: exitUsage, is: []error{archive.ErrVolumeSize},
		en: faultText{
			"Volumes of this size cannot be made.",
			"Every volume repeats the bundle's lists and keeps room for signatures, and at most 999 can be numbered.",
			"Give a larger --volume-size; the message says what the least is.",
		},
		zh: faultText{
			"无法按此大小分卷。",
			"每个分卷都重复包的清单并为签名预留空间，且最多 999 卷。",
			"加大 --volume-size；错误信息给出了最小值。",
		},
	},
	{
		id: "patch", exit: exitUsage, is: []error{archive.ErrPatch, verify.ErrWant},
		en: faultText{
			"The patch or the list of what is damaged does not fit this bundle.",
			"It is for another release, more is damaged than it covers, or it is another kind of file. Nothing was changed.",
			"Let bundle verify write a new list with --want, and have a patch made of it from the file that was sent.",
		},
		zh: faultText{
			"补丁或损坏清单与此包不符。",
			"它属于其他版本，或损坏范围超出补丁，或是别的文件；未作任何改动。",
			"用 bundle verify 的 --want 重新生成清单，再由发送方按原文件制作补丁。",
		},
	},
	{
		id: "repair", exit: exitDamaged, is: []error{recovery.ErrTooMuch},
		en: faultText{
			"More of the file is damaged than its recovery data makes up for.",
			"Recovery data mends about as much as it is large, and what is damaged of it counts, too. It may also be that of another file. Where all of the damage cannot be mended nothing is changed.",
			"Let bundle verify write what is damaged with --want, and have a patch made of it by bundle patch at the source.",
		},
		zh: faultText{
			"文件的损坏超出恢复数据所能修复的范围。",
			"恢复数据能修复的量与其自身大小大致相当，它自身的损坏也计算在内；也可能它属于另一个文件。不能全部修复时不作任何改动。",
			"用 bundle verify 的 --want 写出损坏清单，再由发送方用 bundle patch 制作补丁。",
		},
	},
	{
		id: "recovery", exit: exitUsage, is: []error{recovery.ErrFormat, recovery.ErrOther},
		en: faultText{
			"The recovery data does not belong to this file.",
			"It is another kind of file, or the bundle is longer than when it was written: a signature that was added later makes it so. Nothing was changed.",
			"Name the right file with --from, or write recovery data anew with bundle recovery while the file is whole.",
		},
		zh: faultText{
			"恢复数据不属于这个文件。",
			"它是别的文件，或包比生成恢复数据时更长：之后追加签名就会如此；未作任何改动。",
			"用 --from 指定正确的文件，或在包完好时用 bundle recovery 重新生成恢复数据。",
		},
	},
	{
		id: "incomplete", exit: exitIncomplete, is: []error{verify.ErrIncomplete, archive.ErrMissing, rehearse.ErrIncomplete, serve.ErrUnknown},
		en: faultText{
			"Something that is required is not in the bundle.",
			"It was not packed, or the install asks for more than the bundle was built for, for instance by other values.",
			"Build the bundle again with what the message names. Nothing was touched on any host.",
		},
		zh: faultText{
			"离线包缺少必需的内容。",
			"打包时没有包含，或安装所需超出了打包范围（例如使用了不同的 values）。",
			"按错误信息补充内容后重新构建；主机上没有任何改动。",
		},
	},
	{
		id: "not-in-bundle", exit: exitFailed, is: []error{unpack.ErrNotFound},
		en: faultText{
			"The bundle has nothing of that name.",
			"The name is misspelt, or its tag is another one.",
			"`bundle images`, `charts` and `files` list what there is.",
		},
		zh: faultText{
			"离线包中没有该名称的内容。",
			"名称或标签写错。",
			"用 bundle images、charts、files 查看包中内容。",
		},
	},
	{
		id: "no-inventory", exit: exitFailed, is: []error{pack.ErrNoContents},
		en: faultText{
			"The bundle has no inventory.",
			"It was made by another program that follows the format and left the inventory out.",
			"It can be verified, served and pushed; planning and installing need a bundle of `bundle build`.",
		},
		zh: faultText{
			"离线包没有内容清单。",
			"它由遵循该格式的其他程序生成，未写入清单。",
			"可以校验、提供服务和推送；规划与安装需要 bundle build 生成的包。",
		},
	},
	{
		id: "disk-full", exit: exitFailed, is: []error{archive.ErrNoSpace, agent.ErrSpace, site.ErrSpace},
		en: faultText{
			"There is not enough free space.",
			"The message says where, how much is needed and how much there is. Nothing was left half-written that a second run would not use.",
			"Free some space there, or choose another place; then run the same command again.",
		},
		zh: faultText{
			"磁盘空间不足。",
			"错误信息给出了位置、所需空间与可用空间；已写入的部分会在下次运行时继续使用。",
			"清理空间或换一个位置，再执行同一命令。",
		},
	},
	{
		id: "busy", exit: exitFailed, is: []error{archive.ErrBusy, journal.ErrBusy},
		en: faultText{
			"Another run works on the same file or cluster.",
			"It is still going on, perhaps in another terminal.",
			"Wait for it to end, or end it; the next run goes on where it was.",
		},
		zh: faultText{
			"另一个进程正在处理同一文件或集群。",
			"它仍在运行，可能在另一个终端里。",
			"等待其结束或终止它；下一次运行会从中断处继续。",
		},
	},
	{
		id: "stream", exit: exitFailed, is: []error{verify.ErrStream},
		en: faultText{
			"The bundle cannot be verified from standard input.",
			"Its inventory is larger than what is kept in memory for one pass.",
			"Verify it as a file.",
		},
		zh: faultText{
			"无法从标准输入校验该离线包。",
			"其清单超过单遍校验允许占用的内存。",
			"改为直接校验文件。",
		},
	},
	// Trust.
	{
		id: "unsigned", exit: exitUntrusted, is: []error{verify.ErrUnsigned},
		en: faultText{
			"The bundle has no signature.",
			"It was built with --unsigned, or the signature lies beside it in a file of its own.",
			"Sign it at the source with `bundle sign`, or name the signature with --signature.",
		},
		zh: faultText{
			"离线包没有签名。",
			"构建时用了 --unsigned，或签名在单独的文件中。",
			"在源端用 bundle sign 签名，或用 --signature 指定签名文件。",
		},
	},
	{
		id: "untrusted", exit: exitUntrusted, is: []error{verify.ErrUntrusted},
		en: faultText{
			"No signature satisfies what was asked for.",
			"It was made with another key, the key expired or was revoked, or too few have signed.",
			"Make sure that the public key or policy is the right one and came by a way of its own. Do not install what nobody vouches for.",
		},
		zh: faultText{
			"签名不满足信任要求。",
			"由其他密钥签名、密钥过期或被吊销，或签名人数不足。",
			"确认公钥或策略正确且由独立渠道送达；不要安装无人担保的内容。",
		},
	},
	{
		id: "statement-refused", exit: exitUntrusted, is: []error{policy.ErrRefused},
		en: faultText{
			"A statement about keys is not signed by those who may sign it.",
			"A revocation list or a rotation of keys counts only with signatures of the keys that are trusted already.",
			"Get the statement from the owner of the policy again.",
		},
		zh: faultText{
			"关于密钥的声明没有有权签署者的签名。",
			"吊销列表或密钥轮换必须由已受信任的密钥签名才有效。",
			"向策略的所有者重新索取该声明。",
		},
	},
	{
		id: "receipt-untrusted", exit: exitUntrusted, is: []error{receipt.ErrUntrusted},
		en: faultText{
			"The receipt is not signed by a key that was given, or is about another bundle.",
			"It was written with another --receipt-key, was changed afterwards, or belongs to another release.",
			"Get the public key of whoever wrote it on a way of its own, and compare the index digests that bundle verify prints.",
		},
		zh: faultText{
			"收据不是由给定密钥签署的，或属于另一个包。",
			"收据使用了其他 --receipt-key、事后被改动，或属于其他版本。",
			"通过独立渠道取得签署者的公钥，并核对 bundle verify 输出的 index 摘要。",
		},
	},
	{
		id: "receipt", exit: exitUsage, is: []error{receipt.ErrReceipt},
		en: faultText{
			"This is no receipt, or there cannot be one.",
			"The file is something else or cut off, or the bundle is so damaged that its index cannot be read.",
			"Give the file that --receipt wrote. Where the file that was verified is damaged like that, its exit code and report are all there is.",
		},
		zh: faultText{
			"这不是收据，或无法出具收据。",
			"文件是别的内容或被截断，或包损坏到无法读取 index。",
			"使用 --receipt 写出的文件；对损坏的包，只有 bundle verify 的退出码和报告。",
		},
	},
	{
		id: "policy", exit: exitUsage, is: []error{policy.ErrSyntax, verify.ErrPolicy},
		en: faultText{
			"The trust policy, an identity or a trusted root cannot be used.",
			"A field is unknown, a key cannot be read, or the policy asks for more signers than it names.",
			"Mend the line that the message names; docs/policy.md explains every field.",
		},
		zh: faultText{
			"信任策略、身份或信任根无法使用。",
			"字段未知、密钥无法读取，或要求的签名人数多于列出的人数。",
			"修正错误信息指出的那一行；各字段见 docs/policy.md。",
		},
	},
	{
		id: "trust-state", exit: exitFailed, is: []error{policy.ErrState},
		en: faultText{
			"What this machine remembers of bundles and keys cannot be used.",
			"The file was edited or damaged, or may not be written. It keeps older bundles from being put in place of newer ones.",
			"Restore the file that the message names; remove it only if you know why it is damaged.",
		},
		zh: faultText{
			"本机保存的信任记录无法使用。",
			"文件被改动、损坏，或没有写权限。它用来防止旧包冒充新包。",
			"恢复错误信息指出的文件；只有在清楚损坏原因时才可删除。",
		},
	},
	{
		id: "password", exit: exitUsage, is: []error{sign.ErrPassword},
		en: faultText{
			"The password does not open the private key.",
			"BUNDLE_PASSWORD or COSIGN_PASSWORD is unset or wrong, or the key is another one.",
			"Set BUNDLE_PASSWORD to the key's password; nothing was written.",
		},
		zh: faultText{
			"口令打不开私钥。",
			"BUNDLE_PASSWORD 或 COSIGN_PASSWORD 未设置或错误，或用错了密钥。",
			"把 BUNDLE_PASSWORD 设为该密钥的口令；没有写入任何内容。",
		},
	},
	{
		id: "key", exit: exitUsage, is: []error{sign.ErrKey, sign.ErrBundle, sign.ErrExists},
		en: faultText{
			"A key or signature file cannot be used.",
			"It is the other half of the pair, of an unknown kind, damaged, or would be overwritten.",
			"Private keys sign, public keys verify; `bundle keygen` makes a pair.",
		},
		zh: faultText{
			"密钥或签名文件无法使用。",
			"用成了密钥对的另一半、类型未知、已损坏，或会覆盖已有文件。",
			"私钥用于签名，公钥用于校验；bundle keygen 可生成一对。",
		},
	},
	// Serving.
	{
		id: "serve-conflict", exit: exitFailed, is: []error{serve.ErrConflict},
		en: faultText{
			"Two bundles give one name to different content.",
			"Served together, one name could mean either.",
			"Serve them one by one, or name only those that belong together.",
		},
		zh: faultText{
			"两个离线包中同一名称对应不同内容。",
			"一起提供服务时该名称会有歧义。",
			"分别提供服务，或只给出彼此相关的包。",
		},
	},
	{
		id: "serve", exit: exitUsage, is: []error{serve.ErrOptions, serve.ErrIndex},
		en: faultText{
			"The registry cannot be started like this.",
			"A certificate, key, htpasswd file or address cannot be used, or a bundle's index names what no registry can have.",
			"Mend what the message names; docs/serve.md has an example of each.",
		},
		zh: faultText{
			"无法这样启动镜像仓库。",
			"证书、密钥、htpasswd 文件或地址不可用，或离线包索引中有仓库无法表示的名称。",
			"按错误信息修正；示例见 docs/serve.md。",
		},
	},
	// Planning.
	{
		id: "clusterfile", exit: exitUsage, is: []error{cluster.ErrSyntax},
		en: faultText{
			"The Clusterfile cannot be used.",
			"A placeholder such as $MASTER_IP_1 is not filled, a field is unknown or wrong, or there are no hosts.",
			"Fill placeholders with --set NAME=VALUE, and mend the line that the message names; docs/clusterfile.md explains all of it.",
		},
		zh: faultText{
			"Clusterfile 无法使用。",
			"$MASTER_IP_1 之类的占位符未填写、字段未知或有误，或没有主机。",
			"用 --set NAME=VALUE 填写占位符，并修正错误信息指出的那一行；说明见 docs/clusterfile.md。",
		},
	},
	{
		id: "rootfs", exit: exitUsage, is: []error{rootfs.ErrApply},
		en: faultText{
			"A Config or template cannot be applied to the cluster image's files.",
			"A template has an error or asks for a variable that is not set, or a Config names a file that is not there.",
			"Mend the Config that the message names, or set the variable with -e NAME=VALUE.",
		},
		zh: faultText{
			"Config 或模板无法应用到集群镜像的文件。",
			"模板有误、引用了未设置的变量，或 Config 指定的文件不存在。",
			"修正错误信息指出的 Config，或用 -e NAME=VALUE 设置变量。",
		},
	},
	{
		id: "kubeadm-config", exit: exitUsage, is: []error{kubeadm.ErrInput, kubeadm.ErrVersion},
		en: faultText{
			"No configuration for kubeadm can be made.",
			"The cluster image states no Kubernetes version that is known, or a document of the Clusterfile contradicts it.",
			"Check Metadata and etc/kubeadm.yml of the cluster image, and the kubeadm documents of the Clusterfile.",
		},
		zh: faultText{
			"无法生成 kubeadm 配置。",
			"集群镜像没有可识别的 Kubernetes 版本，或与 Clusterfile 中的内容矛盾。",
			"检查集群镜像的 Metadata 与 etc/kubeadm.yml，以及 Clusterfile 中的 kubeadm 文档。",
		},
	},
	{
		id: "plan", exit: exitUsage, is: []error{plan.ErrPlan, install.ErrInput},
		en: faultText{
			"No plan can be made of the bundle and the Clusterfile.",
			"The bundle brings no cluster image, or the two do not fit together.",
			"`bundle plan` shows what would be done and where each step comes from; mend what the message names.",
		},
		zh: faultText{
			"无法由离线包和 Clusterfile 得出安装计划。",
			"离线包不含集群镜像，或两者不匹配。",
			"bundle plan 可查看每一步及其来源；按错误信息修正。",
		},
	},
	{
		id: "not-installable", exit: exitFailed, is: []error{rehearse.ErrUnusable},
		en: faultText{
			"A chart or manifest cannot be installed as it is.",
			"It does not render with the site's values, or is not what Kubernetes takes.",
			"Mend the values or the chart that the message names, then rehearse again. Nothing was touched.",
		},
		zh: faultText{
			"某个 Chart 或清单无法照原样安装。",
			"用现场 values 渲染失败，或内容不被 Kubernetes 接受。",
			"修正错误信息指出的 values 或 Chart 后再次预演；没有任何改动。",
		},
	},
	// Hosts.
	{
		id: "not-ready-hosts", exit: exitFailed, is: []error{preflight.ErrNotReady},
		en: faultText{
			"The hosts are not fit for the install yet.",
			"Preflight found what would make it fail later; each finding names its host. Nothing was touched.",
			"Mend the findings and run the same command again.",
		},
		zh: faultText{
			"主机尚不满足安装条件。",
			"预检发现了会导致后续失败的问题，每条都注明主机；没有任何改动。",
			"逐条处理后重新执行同一命令。",
		},
	},
	{
		id: "host-facts", exit: exitFailed, is: []error{preflight.ErrFacts, host.ErrShell, host.ErrCommand},
		en: faultText{
			"A host answers, but not as a Linux host with a POSIX shell does.",
			"The login shell prints something of its own, is restricted, or the host is an appliance.",
			"Log in by hand as the same user and run `sh -c 'uname -a'`; it must print one line.",
		},
		zh: faultText{
			"主机有响应，但不像带 POSIX shell 的 Linux 主机。",
			"登录 shell 会输出额外内容、受到限制，或该主机是专用设备。",
			"用同一用户手工登录并执行 sh -c 'uname -a'，应只输出一行。",
		},
	},
	{
		id: "login", exit: exitFailed, is: []error{host.ErrAuth},
		en: faultText{
			"A host refuses the login, or does not let the user become root.",
			"The user, password or key is wrong, password logins are off, or sudo wants something else.",
			"Try `ssh USER@HOST` and `sudo -v` by hand with the same credentials.",
		},
		zh: faultText{
			"主机拒绝登录，或不允许该用户成为 root。",
			"用户名、口令或密钥错误、禁用了口令登录，或 sudo 有其他要求。",
			"用相同凭据手工执行 ssh USER@HOST 和 sudo -v 试一下。",
		},
	},
	{
		id: "host-key", exit: exitFailed, is: []error{host.ErrHostKey},
		en: faultText{
			"A host shows another SSH key than the one that was pinned.",
			"It was reinstalled, or another machine answers at its address.",
			"If it was reinstalled, remove its line from the known_hosts file that the message names, and run the same command again.",
		},
		zh: faultText{
			"主机的 SSH 密钥与已记录的不同。",
			"主机重装过，或该地址上是另一台机器。",
			"确认重装过之后，从错误信息指出的 known_hosts 文件中删除对应行，再执行同一命令。",
		},
	},
	{
		id: "host-down", exit: exitFailed, is: []error{host.ErrConnection, host.ErrClosed},
		en: faultText{
			"A host cannot be reached, or went away in the middle.",
			"It is down, its address or port is wrong, or the network between is cut.",
			"Try `ssh USER@HOST`. When it answers, run the same command again; it goes on where it was.",
		},
		zh: faultText{
			"主机无法访问，或中途断开。",
			"主机宕机、地址或端口错误，或网络中断。",
			"先试 ssh USER@HOST；恢复后执行同一命令，会从中断处继续。",
		},
	},
	{
		id: "host-target", exit: exitFailed, is: []error{host.ErrTarget},
		en: faultText{
			"A host cannot connect to an address that it needs.",
			"A firewall between the hosts is closed, or nothing listens there.",
			"Open the port that the message names between the hosts.",
		},
		zh: faultText{
			"主机无法连接所需的地址。",
			"主机之间的防火墙未放行，或对端没有监听。",
			"在主机之间放行错误信息指出的端口。",
		},
	},
	{
		id: "host-file", exit: exitFailed, is: []error{host.ErrFile, host.ErrTooLarge, site.ErrFile, agent.ErrMounted, agent.ErrOptions},
		en: faultText{
			"A file or folder on a host cannot be worked with.",
			"It is read-only, something is mounted over it, it is a folder where a file should be, or larger than it may be.",
			"Look at the path that the message names on that host, then run the same command again.",
		},
		zh: faultText{
			"主机上的某个文件或目录无法使用。",
			"只读、被挂载覆盖、类型不对，或超过允许的大小。",
			"在该主机上检查错误信息指出的路径，再执行同一命令。",
		},
	},
	{
		id: "processor", exit: exitFailed, is: []error{site.ErrArch},
		en: faultText{
			"A host has another kind of processor than this program.",
			"The program was built for amd64 and the host is arm64, or the other way round.",
			"Give the program for that host with --binary, or install from a machine of the same kind.",
		},
		zh: faultText{
			"主机的处理器架构与本程序不同。",
			"程序为 amd64 构建而主机为 arm64，或相反。",
			"用 --binary 给出对应架构的程序，或从相同架构的机器上安装。",
		},
	},
	{
		id: "port-taken", exit: exitFailed, is: []error{site.ErrPort},
		en: faultText{
			"Another program has the registry's port on a host.",
			"Often it is an older registry; the message names the program.",
			"Stop it there: hosts and charts know the registry by this port.",
		},
		zh: faultText{
			"主机上仓库端口已被其他程序占用。",
			"通常是旧的镜像仓库；错误信息中有程序名。",
			"在该主机上停掉它：主机和 Chart 都按此端口访问仓库。",
		},
	},
	{
		id: "registry-on-site", exit: exitFailed, is: []error{site.ErrUnreachable, site.ErrOptions, site.ErrBundle, node.ErrDamaged},
		en: faultText{
			"The registry on site does not answer as it should.",
			"Its service ended, a firewall is closed, or the bundle on that host is not the one that was sent.",
			"Look at `journalctl -u bundle-registry` on that host, then run the same command again: what is good is not sent twice.",
		},
		zh: faultText{
			"现场的镜像仓库没有正常响应。",
			"服务已退出、防火墙未放行，或主机上的离线包与发送的不一致。",
			"在该主机查看 journalctl -u bundle-registry，再执行同一命令；已完好的内容不会重传。",
		},
	},
	// The cluster.
	{
		id: "foreign-node", exit: exitFailed, is: []error{node.ErrForeign},
		en: faultText{
			"A host belongs to a cluster that this installer did not make.",
			"There is a /etc/kubernetes of somebody else. It is left alone.",
			"If that cluster is not needed any more, reset it by the means it was made with; else take another host.",
		},
		zh: faultText{
			"主机属于另一个并非由本工具安装的集群。",
			"存在他人的 /etc/kubernetes，本工具不会动它。",
			"若该集群已不再需要，用原来的方式重置；否则换一台主机。",
		},
	},
	{
		id: "kubeadm", exit: exitFailed, is: []error{node.ErrKubeadm},
		en: faultText{
			"kubeadm failed on a host.",
			"The last lines of its output are in the message, all of it is in the host's log.",
			"Mend the cause on that host, then run the same command again; `bundle status` says where it stands.",
		},
		zh: faultText{
			"主机上 kubeadm 执行失败。",
			"错误信息中有最后几行输出，完整输出在该主机的日志里。",
			"在该主机上排除原因后执行同一命令；bundle status 可查看进度。",
		},
	},
	{
		id: "api-server", exit: exitFailed, is: []error{node.ErrAPI},
		en: faultText{
			"The API server does not answer as it should.",
			"It is starting, its host is overloaded, or its certificate or address changed.",
			"Wait a minute and run the same command again. `crictl ps -a` on the control plane shows whether it restarts.",
		},
		zh: faultText{
			"API Server 没有正常响应。",
			"正在启动、主机过载，或证书、地址发生变化。",
			"稍等后执行同一命令；在控制节点执行 crictl ps -a 看它是否反复重启。",
		},
	},
	{
		id: "host-program", exit: exitFailed, is: []error{node.ErrAgent},
		en: faultText{
			"Our own program failed on a host.",
			"It could not be started there or ended early; /var may be mounted noexec.",
			"Run the command that the message names by hand on that host, then the same install again.",
		},
		zh: faultText{
			"本工具在主机上的程序执行失败。",
			"无法启动或提前退出；/var 可能以 noexec 挂载。",
			"在该主机上手工执行错误信息中的命令，再重新安装。",
		},
	},
	{
		id: "timeout", exit: exitFailed, is: []error{kube.ErrTimeout},
		en: faultText{
			"A step did not come to its end in the time it has.",
			"What was waited for, and why it is not there yet, is in the message.",
			"If it only needs longer, run the same command again: it goes on waiting. Else mend the reason first.",
		},
		zh: faultText{
			"某一步未能在规定时间内完成。",
			"错误信息中说明了在等待什么以及尚未就绪的原因。",
			"若只是需要更久，重新执行同一命令会继续等待；否则先排除原因。",
		},
	},
	{
		id: "not-ready", exit: exitFailed, is: []error{kube.ErrNotReady},
		en: faultText{
			"An object in the cluster is not ready and will not become so by itself.",
			"An image cannot be pulled, a pod finds no node, or a container crashes; the message has the reason and the last lines of its log.",
			"Mend the reason, then run the same command again.",
		},
		zh: faultText{
			"集群中的对象未就绪，且不会自行恢复。",
			"镜像拉取失败、Pod 无法调度，或容器反复崩溃；错误信息中有原因和最后几行日志。",
			"排除原因后执行同一命令。",
		},
	},
	{
		id: "conflict", exit: exitFailed, is: []error{kube.ErrConflict},
		en: faultText{
			"Something else is in the cluster already, and a step may not replace it.",
			"It was made by hand or by another tool.",
			"Remove or rename it, or skip the step with --skip, then run the same command again.",
		},
		zh: faultText{
			"集群中已有其他内容，该步骤不能替换它。",
			"由人工或其他工具创建。",
			"删除或改名，或用 --skip 跳过该步骤，再执行同一命令。",
		},
	},
	{
		id: "step-input", exit: exitFailed, is: []error{kube.ErrInput},
		en: faultText{
			"A step, its files or the kubeconfig cannot be used as they are.",
			"A manifest is malformed, a chart needs a newer Kubernetes, or the kubeconfig is not the cluster's.",
			"Mend what the message names; `bundle rehearse` finds this without any host.",
		},
		zh: faultText{
			"某一步骤、其文件或 kubeconfig 无法使用。",
			"清单格式错误、Chart 需要更高版本的 Kubernetes，或 kubeconfig 不属于该集群。",
			"按错误信息修正；bundle rehearse 可在不接触主机的情况下发现这类问题。",
		},
	},
	{
		id: "acceptance", exit: exitFailed, is: []error{check.ErrFailed},
		en: faultText{
			"The cluster is not what was installed.",
			"Acceptance found nodes, releases, workloads or images that differ; each finding is in the report.",
			"Mend the findings and run `bundle check` again; `bundle install` puts back what is missing.",
		},
		zh: faultText{
			"集群与安装内容不一致（验收未通过）。",
			"验收发现节点、Release、工作负载或镜像存在差异，详见报告。",
			"逐项处理后再次执行 bundle check；bundle install 会补齐缺失的内容。",
		},
	},
	{
		id: "journal", exit: exitFailed, is: []error{journal.ErrDamaged, journal.ErrDiverged},
		en: faultText{
			"The journal of the install cannot be trusted.",
			"It was edited or damaged, or this machine and the first master remember different runs.",
			"Look at both with `bundle status`; --restart begins a new journal and does every step anew, which is safe for all but those marked destructive.",
		},
		zh: faultText{
			"安装日志不可信。",
			"日志被改动或损坏，或本机与首个 master 记录的不是同一次安装。",
			"用 bundle status 查看；--restart 会新建日志并重做每一步，除标为破坏性的步骤外都是安全的。",
		},
	},
	{
		id: "no-record", exit: exitFailed, is: []error{install.ErrNoRecord},
		en: faultText{
			"Nothing is known of an install on this machine.",
			"It ran on another machine or as another user, or --state names another folder.",
			"Run this where the install ran, or give the same --state or -f.",
		},
		zh: faultText{
			"本机没有安装记录。",
			"安装在其他机器或以其他用户执行，或 --state 指向别处。",
			"在执行安装的机器上运行，或给出相同的 --state 或 -f。",
		},
	},
	{
		id: "internal", exit: exitFailed, is: []error{archive.ErrNotLoaded},
		en: faultText{
			"The tool did something that it should not do.",
			"This is a mistake in the tool, not of yours.",
			"Report it with the whole message and the output of `bundle version`.",
		},
		zh: faultText{
			"工具内部错误。",
			"这是工具的缺陷，不是你的操作问题。",
			"请附上完整错误信息和 bundle version 的输出进行反馈。",
		},
	},
}
