// Sqlite uses go-sqlite3 as its users wrongly do: rows that are not closed, statements that are prepared for each call.
package main

import (
	"database/sql"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	_ "github.com/mattn/go-sqlite3"
)

var answer []byte

func main() {
	misuse := flag.String("misuse", "", "rows or statements; empty: used as it should be")
	life := flag.Duration("life", time.Minute, "end after this long")
	flag.Parse()
	file, err := os.CreateTemp("", "cgoleak-realworld-*.db")
	check(err)
	defer os.Remove(file.Name())
	db, err := sql.Open("sqlite3", file.Name())
	check(err)
	_, err = db.Exec("create table user (id integer primary key, name text)")
	check(err)
	for i := 0; i < 50; i++ {
		_, err = db.Exec("insert into user (name) values (?)", fmt.Sprint("user", i))
		check(err)
	}
	db.SetMaxIdleConns(2)
	fmt.Printf("running pid=%d\n", os.Getpid())
	// Slowly: each connection that is not given back holds files open.
	for end := time.Now().Add(*life); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		listUsers(db)
		countUsers(db)
		// A service makes garbage all the time: without a GC nobody can tell what finalizers will free.
		answer = make([]byte, 1<<20)
		if *misuse == "rows" {
			// The first takes the idle connection away; who then opens a new one is whoever comes next.
			firstUser(db)
			firstUser(db)
			firstUser(db)
		}
		if *misuse == "statements" {
			for i := 0; i < 10; i++ {
				userByID(db, i+1)
			}
		}
	}
}

func listUsers(db *sql.DB) {
	rows, err := db.Query("select id, name from user")
	check(err)
	defer rows.Close()
	for rows.Next() {
		var id int
		var name string
		check(rows.Scan(&id, &name))
	}
}

func countUsers(db *sql.DB) {
	var n int
	check(db.QueryRow("select count(*) from user").Scan(&n))
}

// firstUser looks at one row and goes: its connection is never given back.
//
//go:noinline
func firstUser(db *sql.DB) {
	rows, err := db.Query("select id, name from user")
	check(err)
	rows.Next()
}

// userByID prepares for each call and never closes.
//
//go:noinline
func userByID(db *sql.DB, id int) {
	stmt, err := db.Prepare("select name from user where id = ?")
	check(err)
	var name string
	check(stmt.QueryRow(id).Scan(&name))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
