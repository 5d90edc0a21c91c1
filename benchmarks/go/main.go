// The pool as one writes it in Go: a buffered channel, select with default, workers that recover.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
//	go_pool                                   checks that each task runs once
//	go_pool throughput try|wait PxW MS        as throughput.cpp
//	go_pool caller_cost busy|parked|full MS   as caller_cost.cpp
//	go_pool real_tasks ITERATIONS COUNT       as real_tasks.cpp
//	go_pool service paced RATE PACING US WORKERS NEIGHBOURS MS
//	go_pool service blocking N MS
//	go_pool service parked WORKERS MS         as service.cpp
package main

import (
	"fmt"
	"log"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const buffer = 1024

type pool struct {
	tasks   chan func()
	workers sync.WaitGroup
}

func newPool(workers int) *pool {
	p := &pool{tasks: make(chan func(), buffer)}
	p.workers.Add(workers)
	for i := 0; i < workers; i++ {
		go p.work()
	}
	return p
}

func (p *pool) work() {
	defer p.workers.Done()
	for f := range p.tasks {
		run(f)
	}
}

func run(f func()) {
	defer func() {
		if r := recover(); r != nil {
			log.Printf("a task failed: %v", r)
		}
	}()
	f()
}

func (p *pool) trySubmit(f func()) bool {
	select {
	case p.tasks <- f:
		return true
	default:
		return false
	}
}

func (p *pool) submitRetrying(f func()) {
	for !p.trySubmit(f) {
		runtime.Gosched()
	}
}

func (p *pool) submit(f func()) { p.tasks <- f }

func (p *pool) close() {
	close(p.tasks)
	p.workers.Wait()
}

// tiny makes the closure of the C++ side: three words, and nothing to do when counter is nil.
func tiny(counter *uint64, a, b uint64) func() {
	return func() {
		if counter != nil {
			atomic.AddUint64(counter, a^b)
		}
	}
}

func report(quantity string, value float64) { fmt.Printf("%s %.9g\n", quantity, value) }

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(2)
}

func cpuNs() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		fail(err.Error())
	}
	return float64(used.Utime.Nano() + used.Stime.Nano())
}

func throughput(mode string, producers, workers int, length time.Duration, counter *uint64) (uint64, float64, float64) {
	p := newPool(workers)
	submit := p.submitRetrying
	if mode == "wait" {
		submit = p.submit
	}
	var accepted uint64
	var ends uint32
	begins := make(chan struct{})
	var all sync.WaitGroup
	all.Add(producers)
	for i := 0; i < producers; i++ {
		go func() {
			defer all.Done()
			<-begins
			var own uint64
			for atomic.LoadUint32(&ends) == 0 {
				for j := uint64(0); j < 16; j++ {
					submit(tiny(counter, j, j^1))
				}
				own += 16
			}
			atomic.AddUint64(&accepted, own)
		}()
	}
	cpu, start := cpuNs(), time.Now()
	close(begins)
	time.Sleep(length)
	atomic.StoreUint32(&ends, 1)
	all.Wait()
	p.close()
	return accepted, float64(time.Since(start).Nanoseconds()), cpuNs() - cpu
}

//go:noinline
func compute(iterations uint64) uint64 {
	x := iterations
	for ; iterations > 0; iterations-- {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}

var sink uint64

func computing(iterations uint64) func() {
	return func() {
		if compute(iterations) == 1 {
			atomic.AddUint64(&sink, 1)
		}
	}
}

// callTimer times single calls as the C++ side does: quantiles interpolate inside a step of the
// clock, and what a pair of readings costs by itself is taken off.
type callTimer struct {
	step, overhead float64
	ns             []int64
}

func newCallTimer() *callTimer {
	t := &callTimer{}
	for i := 0; i < 20000; i++ {
		t.time(func() bool { return true })
	}
	sort.Slice(t.ns, func(i, j int) bool { return t.ns[i] < t.ns[j] })
	t.step = float64(t.ns[len(t.ns)-1])
	for i := 1; i < len(t.ns); i++ {
		if d := float64(t.ns[i] - t.ns[i-1]); d > 0 && d < t.step {
			t.step = d
		}
	}
	t.overhead = t.at(0.5)
	t.ns = t.ns[:0]
	return t
}

func (t *callTimer) time(f func() bool) bool {
	start := time.Now()
	answer := f()
	t.ns = append(t.ns, time.Since(start).Nanoseconds())
	return answer
}

func (t *callTimer) at(q float64) float64 {
	rank := q * float64(len(t.ns)-1)
	reading := t.ns[int(rank)]
	below := sort.Search(len(t.ns), func(i int) bool { return t.ns[i] >= reading })
	upTo := sort.Search(len(t.ns), func(i int) bool { return t.ns[i] > reading })
	return float64(reading) + t.step*((rank+0.5-float64(below))/float64(upTo-below)-0.5)
}

func (t *callTimer) report(prefix string) {
	sort.Slice(t.ns, func(i, j int) bool { return t.ns[i] < t.ns[j] })
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50_ns", 0.5}, {"p99_ns", 0.99}, {"p999_ns", 0.999}} {
		ns := t.at(q.at) - t.overhead
		if ns < 0 {
			ns = 0
		}
		report(prefix+q.name, ns)
	}
	report(prefix+"samples", float64(len(t.ns)))
}

func callerCost(state string, length time.Duration) {
	const most, fewest, iterations = 256, 32, 800
	calls := newCallTimer()
	p := newPool(1)
	var done, sent uint64
	work := func() {
		if compute(iterations) != 1 {
			atomic.AddUint64(&done, 1)
		}
	}
	timed := func(f func()) bool { return calls.time(func() bool { return p.trySubmit(f) }) }
	waiting := func() uint64 { return sent - atomic.LoadUint64(&done) }
	end := time.Now().Add(length)
	switch state {
	case "busy":
		for time.Now().Before(end) {
			for waiting() < most {
				if timed(work) {
					sent++
				}
				sink += compute(iterations / 4)
			}
			for waiting() > fewest {
				runtime.Gosched()
			}
		}
	case "parked":
		for time.Now().Before(end) {
			// The runtime's other threads look for work for a while before they sleep.
			for start := time.Now(); time.Since(start) < 200*time.Microsecond; {
			}
			timed(tiny(&done, 0, 1))
			sent++
			for waiting() > 0 {
				runtime.Gosched()
			}
		}
	case "full":
		held, open := make(chan struct{}), make(chan struct{})
		p.submit(func() { close(held); <-open })
		<-held
		for p.trySubmit(tiny(nil, 0, 0)) {
		}
		for time.Now().Before(end) {
			for i := 0; i < 1000; i++ {
				if timed(tiny(nil, 0, 0)) {
					fail("a full buffer accepted")
				}
			}
		}
		close(open)
	default:
		fail("no state '" + state + "'")
	}
	p.close()
	calls.report("")
}

func realTasks(iterations uint64, count int) {
	start := time.Now()
	p := newPool(runtime.NumCPU())
	for i := 0; i < count; i++ {
		p.submit(computing(iterations))
	}
	p.close()
	report("wall_ns_per_task", float64(time.Since(start).Nanoseconds())/float64(count))
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		fail("'" + text + "' is no number above 0")
	}
	return n
}

func main() {
	args := os.Args[1:]
	milliseconds := func(i int) time.Duration { return time.Duration(number(args[i])) * time.Millisecond }
	switch {
	case len(args) == 0:
		var ran uint64
		if accepted, _, _ := throughput("try", 2, 2, time.Millisecond, &ran); ran != accepted {
			fail("tasks were lost")
		}
		paced(&cell{rate: 10000, atOnce: 1, workers: 1, ms: 10}, "1t")
		blocking(2, time.Millisecond)
	case len(args) == 4 && args[0] == "throughput":
		cell := strings.SplitN(args[2]+"x", "x", 3)
		tasks, wall, cpu := throughput(args[1], number(cell[0]), number(cell[1]), milliseconds(3), nil)
		report("tasks_per_s", float64(tasks)*1e9/wall)
		report("cpu_ns_per_task", cpu/float64(tasks))
	case len(args) == 3 && args[0] == "caller_cost":
		callerCost(args[1], milliseconds(2))
	case len(args) == 3 && args[0] == "real_tasks":
		realTasks(uint64(number(args[1])), number(args[2]))
	case len(args) == 8 && args[0] == "service" && args[1] == "paced":
		paced(parsePaced(args[2:]), args[6])
	case len(args) == 4 && args[0] == "service" && args[1] == "blocking":
		blocking(number(args[2]), milliseconds(3))
	case len(args) == 4 && args[0] == "service" && args[1] == "parked":
		parked(number(args[2]), milliseconds(3))
	case len(args) == 3 && args[0] == "neighbour":
		beNeighbour(number(args[1])-1, number(args[2]))
	default:
		fail("what this program takes stands at the head of its source")
	}
}
