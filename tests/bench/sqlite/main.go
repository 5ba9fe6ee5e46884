// Sqlite works through go-sqlite3, in memory, and says once a second how fast: rows are inserted, searched and deleted.
//
// A line a second, as the hammer's: "pairs=N ns/pair=X", where a pair is one such turn of all threads together.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/mattn/go-sqlite3"
)

func main() {
	log.SetFlags(0)
	threads := flag.Int("threads", 1, "how many, each with a database of its own")
	duration := flag.Duration("duration", time.Minute, "end after this long at the latest")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	var turns atomic.Uint64
	for i := 0; i < *threads; i++ {
		go work(ctx, &turns)
	}
	tick := time.NewTicker(time.Second)
	for last, was := time.Now(), uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if done := turns.Load(); done > was {
				fmt.Printf("pairs=%d ns/pair=%.2f\n", done-was, float64(now.Sub(last).Nanoseconds())/float64(done-was))
				last, was = now, done
			}
		}
	}
}

func work(ctx context.Context, turns *atomic.Uint64) {
	db, err := sql.Open("sqlite3", ":memory:")
	check(err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("create table user (id integer primary key, name text)")
	check(err)
	for i := 0; ctx.Err() == nil; i++ {
		_, err = db.Exec("insert into user (id, name) values (?, ?)", i, fmt.Sprint("user ", i))
		check(err)
		rows, err := db.Query("select id, name from user where name like ? order by name desc limit 10", "user%")
		check(err)
		for rows.Next() {
			var id int
			var name string
			check(rows.Scan(&id, &name))
		}
		check(rows.Close())
		_, err = db.Exec("delete from user where id <= ?", i-50)
		check(err)
		turns.Add(1)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
