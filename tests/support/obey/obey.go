// Package obey lets a test say, by lines, which functions of a program to call.
package obey

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Lines reads lines "NAME TIMES", calls does[NAME](TIMES) and says when it is done.
func Lines(does map[string]func(int)) {
	lines := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		times, _ := strconv.Atoi(words[1])
		does[words[0]](times)
		fmt.Println("done", lines.Text())
	}
}

// Each gives what calls do so many times.
func Each(do func()) func(int) {
	return func(times int) {
		for i := 0; i < times; i++ {
			do()
		}
	}
}
