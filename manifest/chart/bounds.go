package chart

import (
	"fmt"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// Bounds of what one call of a template function may make out of a number.
const (
	maxRepeat = 16 << 20 // bytes
	maxRange  = 1 << 20  // items
)

// boundedFuncs replaces the template functions that turn a small number into
// any amount of memory. What they give below the bounds is what Sprig's own
// give.
func boundedFuncs() template.FuncMap {
	sprigs := sprig.TxtFuncMap()
	funcs := template.FuncMap{
		"repeat": func(count int, s string) (string, error) {
			if count < 0 || (len(s) > 0 && count > maxRepeat/len(s)) {
				return "", fmt.Errorf("repeat %d times %d bytes is out of bounds", count, len(s))
			}
			return strings.Repeat(s, count), nil
		},
		"until": func(count int) ([]int, error) {
			if count < 0 {
				return steps(0, count, -1)
			}
			return steps(0, count, 1)
		},
		"untilStep": steps,
		"seq": func(params ...int) (string, error) {
			start, stop, step := 1, 1, 1
			switch len(params) {
			case 1:
				stop = params[0]
				if stop < start {
					step = -1
				}
			case 2:
				start, stop = params[0], params[1]
				if stop < start {
					step = -1
				}
			case 3:
				start, step, stop = params[0], params[1], params[2]
			}
			if step != 0 && (stop-start)/step > maxRange {
				return "", fmt.Errorf("seq from %d to %d is out of bounds", start, stop)
			}
			return sprigs["seq"].(func(...int) string)(params...), nil
		},
	}
	for _, name := range []string{"randAlphaNum", "randAlpha", "randAscii", "randNumeric"} {
		random := sprigs[name].(func(int) string)
		funcs[name] = func(count int) (string, error) {
			if count < 0 || count > maxRepeat {
				return "", fmt.Errorf("%s %d is out of bounds", name, count)
			}
			return random(count), nil
		}
	}
	return funcs
}

// steps counts from start up or down to stop, without it.
func steps(start, stop, step int) ([]int, error) {
	list := []int{}
	if step == 0 || (stop < start) != (step < 0) {
		return list, nil
	}
	for i := start; (step > 0 && i < stop) || (step < 0 && i > stop); i += step {
		if len(list) == maxRange {
			return nil, fmt.Errorf("counting from %d to %d is out of bounds", start, stop)
		}
		list = append(list, i)
	}
	return list, nil
}
