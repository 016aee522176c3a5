package page

// common are the words of the frame.
var common = map[string]string{
	"Made by bundle. This page holds all that it shows and asks no network for anything.": "由 bundle 生成。本页面自包含全部内容,不访问任何网络。",
	"and":  "另有",
	"more": "项",
}
