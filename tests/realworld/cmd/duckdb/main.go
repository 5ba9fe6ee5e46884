// Duckdb uses go-duckdb, whose library is C++, as its users wrongly do: results that are not closed.
package main

import (
	"database/sql"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	_ "github.com/marcboeker/go-duckdb"
)

func main() {
	misuse := flag.String("misuse", "", "rows; empty: used as it should be")
	life := flag.Duration("life", time.Minute, "end after this long")
	flag.Parse()
	db, err := sql.Open("duckdb", "")
	check(err)
	_, err = db.Exec("create table reading as select range as id, random() as value from range(2000)")
	check(err)
	fmt.Printf("running pid=%d\n", os.Getpid())
	for end := time.Now().Add(*life); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		average(db)
		if *misuse == "rows" {
			highest(db)
		}
	}
}

func average(db *sql.DB) {
	var mean float64
	check(db.QueryRow("select avg(value) from reading").Scan(&mean))
}

// highest looks at one row and goes: its result and its connection are never given back.
//
//go:noinline
func highest(db *sql.DB) {
	rows, err := db.Query("select id, value from reading order by value desc")
	check(err)
	rows.Next()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
