// Kafka uses confluent-kafka-go as its users wrongly do: the producer's events are never read.
//
// There is no broker: every message fails after half a second, and its report waits to be read.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

func main() {
	misuse := flag.String("misuse", "", "events; empty: used as it should be")
	life := flag.Duration("life", time.Minute, "end after this long")
	flag.Parse()
	producer, err := kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers":            "127.0.0.1:1",
		"message.timeout.ms":           500,
		"linger.ms":                    5,
		"go.events.channel.size":       1,
		"queue.buffering.max.messages": 1000000,
		"log_level":                    0,
	})
	check(err)
	if *misuse != "events" {
		go func() {
			for range producer.Events() {
			}
		}()
	}
	fmt.Printf("running pid=%d\n", os.Getpid())
	for end := time.Now().Add(*life); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		publish(producer)
	}
}

//go:noinline
func publish(producer *kafka.Producer) {
	topic := "orders"
	check(producer.Produce(&kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: 0},
		Value:          make([]byte, 2048),
	}, nil))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
