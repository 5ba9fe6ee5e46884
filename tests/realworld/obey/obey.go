// Package obey lets a test say, by lines, which functions of a program to call.
package obey

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Lines reads lines "NAME TIMES", calls does[NAME] so many times and says when it is done.
func Lines(does map[string]func()) {
	lines := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for lines.Scan() {
		name, number, _ := strings.Cut(lines.Text(), " ")
		times, _ := strconv.Atoi(number)
		for i := 0; i < times; i++ {
			does[name]()
		}
		fmt.Println("done", lines.Text())
	}
}
