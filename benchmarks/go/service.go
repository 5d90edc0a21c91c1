// The pool at a service's rates: as service.cpp, line for line where the languages agree.
// SPDX-License-Identifier: MIT. Copyright (c) 2026 the fanout authors. Licence text: LICENSE.
//
// Neighbours that are threads are goroutines bound to one, so that their processor time is known; each
// brings a turn of its own (GOMAXPROCS), so that they compete in the kernel, as everywhere else: with
// the runtime's turns taken, the submitter too would wait for milliseconds. The submitter is woken by a kernel's timer through the runtime's poller, as a request
// would wake it: the runtime's own timers are late by up to a millisecond when it is idle.
package main

import (
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var began = time.Now()

func now() int64 { return int64(time.Since(began)) }

const (
	clockProcessCPU = 2
	clockThreadCPU  = 3
)

func clockNs(clock uintptr) float64 {
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0)
	return float64(t.Nano())
}

type usage struct{ cpuNs, switches float64 }

func (u usage) minus(o usage) usage { return usage{u.cpuNs - o.cpuNs, u.switches - o.switches} }
func (u usage) plus(o usage) usage  { return usage{u.cpuNs + o.cpuNs, u.switches + o.switches} }

func processUsage() usage {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		fail(err.Error())
	}
	return usage{clockNs(clockProcessCPU), float64(used.Nvcsw + used.Nivcsw)}
}

func threadUsage(thread int) usage {
	// The kernel's clocks of threads: the number negated, a clock of one thread, of its running time.
	used := usage{cpuNs: clockNs(uintptr(int(int32(uint32(^thread)<<3 | 6))))}
	text, _ := os.ReadFile("/proc/self/task/" + strconv.Itoa(thread) + "/status")
	for _, line := range strings.Split(string(text), "\n") {
		if i := strings.Index(line, "voluntary_ctxt_switches:"); i >= 0 {
			n, _ := strconv.ParseFloat(strings.TrimSpace(line[strings.Index(line, ":")+1:]), 64)
			used.switches += n
		}
	}
	return used
}

// --- Neighbours

type place struct {
	done uint64
	_    [120]byte
}

type neighbours struct {
	places    []place
	threads   []int
	processes []*exec.Cmd
	stop      uint32
	ended     sync.WaitGroup
}

func mapPlaces(file *os.File, count int) []place {
	bytes, err := syscall.Mmap(int(file.Fd()), 0, count*int(unsafe.Sizeof(place{})),
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		fail(err.Error())
	}
	return unsafe.Slice((*place)(unsafe.Pointer(&bytes[0])), count)
}

func (p *place) work() {
	if compute(256) != 1 {
		atomic.AddUint64(&p.done, 1)
	}
}

// beNeighbour is the main of a neighbour that is a process: file 3 holds the place of each.
func beNeighbour(index, count int) {
	runtime.GOMAXPROCS(1)
	own := &mapPlaces(os.NewFile(3, "places"), count)[index]
	for parent := os.Getppid(); os.Getppid() == parent; {
		for i := 0; i < 100000; i++ {
			own.work()
		}
	}
}

func newNeighbours(who string) *neighbours {
	n := &neighbours{}
	if who == "0" {
		return n
	}
	count, kind := number(who[:len(who)-1]), who[len(who)-1]
	file, err := os.CreateTemp("", "neighbours")
	if err != nil {
		fail(err.Error())
	}
	os.Remove(file.Name())
	if err := file.Truncate(int64(count) * int64(unsafe.Sizeof(place{}))); err != nil {
		fail(err.Error())
	}
	n.places = mapPlaces(file, count)
	n.threads = make([]int, 0, count)
	if kind == 't' {
		runtime.GOMAXPROCS(runtime.NumCPU() + count)
	}
	for i := range n.places {
		own := &n.places[i]
		switch kind {
		case 'p':
			self, err := os.Executable()
			if err != nil {
				fail(err.Error())
			}
			child := exec.Command(self, "neighbour", strconv.Itoa(i+1), strconv.Itoa(count))
			child.ExtraFiles = []*os.File{file}
			child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := child.Start(); err != nil {
				fail(err.Error())
			}
			n.processes = append(n.processes, child)
		case 't':
			thread := make(chan int)
			n.ended.Add(1)
			go func() {
				runtime.LockOSThread()
				defer n.ended.Done()
				thread <- syscall.Gettid()
				for atomic.LoadUint32(&n.stop) == 0 {
					own.work()
				}
			}()
			n.threads = append(n.threads, <-thread)
		default:
			fail("neighbours are 0, or a number and t or p")
		}
		for atomic.LoadUint64(&own.done) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return n
}

func (n *neighbours) end() {
	atomic.StoreUint32(&n.stop, 1)
	n.ended.Wait()
	for _, child := range n.processes {
		child.Process.Kill()
		child.Wait()
	}
}

func (n *neighbours) done() float64 {
	var sum float64
	for i := range n.places {
		sum += float64(atomic.LoadUint64(&n.places[i].done))
	}
	return sum
}

func (n *neighbours) used() usage {
	var sum usage
	for _, thread := range n.threads {
		sum = sum.plus(threadUsage(thread))
	}
	return sum
}

// --- At a fixed rate

type cell struct {
	rate     float64
	atOnce   int
	computes bool
	taskUs   int
	workers  int
	ms       int
}

func (c *cell) tasks(seconds float64) int {
	calls := int(c.rate * seconds / float64(c.atOnce))
	if calls < 1 {
		calls = 1
	}
	return calls * c.atOnce
}

// alarm wakes a goroutine at a time.
type alarm struct{ file *os.File }

func newAlarm() *alarm {
	const monotonic = 1
	fd, _, err := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, monotonic,
		syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != 0 {
		fail(err.Error())
	}
	return &alarm{os.NewFile(fd, "timer")}
}

func (a *alarm) sleep(ns int64) {
	connection, err := a.file.SyscallConn()
	if err != nil {
		fail(err.Error())
	}
	when := [2]syscall.Timespec{1: syscall.NsecToTimespec(ns)}
	connection.Control(func(fd uintptr) {
		syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&when)), 0, 0, 0)
	})
	var count [8]byte
	if _, err := a.file.Read(count[:]); err != nil {
		fail(err.Error())
	}
}

var pacing = newAlarm()

// keepPace returns how often it slept: who is behind does not.
func (c *cell) keepPace(count int, submit func(i int)) (sleeps float64) {
	period := 1e9 * float64(c.atOnce) / c.rate
	start, due := now(), 0.0
	for i := 0; i < count; {
		due += period
		until := start + int64(due)
		if c.computes {
			for now() < until {
				sink += compute(64)
			}
		} else if left := until - now(); left > 0 {
			pacing.sleep(left)
			sleeps++
		}
		for end := i + c.atOnce; i < end; i++ {
			submit(i)
		}
	}
	return sleeps
}

type totals struct {
	used                    usage
	neighbours, wall, tasks float64
	sleeps                  float64
}

func (c *cell) measure(beside *neighbours, to *totals, run func()) {
	used := func() usage {
		all := processUsage().minus(beside.used())
		if c.computes {
			all.cpuNs -= clockNs(clockThreadCPU)
		}
		return all
	}
	before, done, start := used(), beside.done(), now()
	run()
	for end := now() + 3e6; now() < end; {
		if c.computes {
			sink += compute(64)
		} else {
			time.Sleep(3 * time.Millisecond)
		}
	}
	to.wall += float64(now() - start)
	to.neighbours += beside.done() - done
	to.used = to.used.plus(used().minus(before))
}

// callCPU samples the processor time of every seventh call.
type callCPU struct {
	calls                  int
	sum, samples, overhead float64
}

func newCallCPU() *callCPU {
	c := &callCPU{}
	for i := 0; i < 7000; i++ {
		c.time(func() bool { return true })
	}
	return &callCPU{overhead: c.mean()}
}

func (c *callCPU) time(f func() bool) bool {
	if c.calls++; c.calls%7 != 0 {
		return f()
	}
	before := clockNs(clockThreadCPU)
	answer := f()
	c.sum += clockNs(clockThreadCPU) - before
	c.samples++
	return answer
}

func (c *callCPU) mean() float64 {
	if c.samples == 0 {
		return 0
	}
	if mean := c.sum/c.samples - c.overhead; mean > 0 {
		return mean
	}
	return 0
}

func most[T int | int64 | float64](a, b T) T {
	if a < b {
		return b
	}
	return a
}

func quantile(samples []float64, q float64) float64 {
	if len(samples) == 0 {
		fail("no samples")
	}
	sort.Float64s(samples)
	return samples[int(q*float64(len(samples)-1))]
}

func iterationsPerUs() float64 {
	const iterations = 1000000
	var best float64
	for i := 0; i < 4; i++ {
		start := now()
		sink += compute(iterations)
		best = most(best, iterations*1e3/float64(now()-start))
	}
	return best
}

func paced(c *cell, who string) {
	var iterations uint64
	if c.taskUs > 0 {
		iterations = uint64(iterationsPerUs() * float64(c.taskUs))
	}
	beside := newNeighbours(who)
	defer beside.end()
	if c.computes {
		runtime.LockOSThread() // its processor time is a thread's
	}
	seconds := float64(c.ms) * 1e-3
	stretches := 1
	for stretches < 4 && stretches < c.tasks(seconds)/100 && stretches < c.ms/50 {
		stretches++
	}
	count := c.tasks(seconds / float64(stretches))
	warmUp := c.tasks(0.02)
	if limit := most(32, c.atOnce); warmUp > limit {
		warmUp = limit
	}

	submitted, started := make([]int64, count), make([]int64, count)
	task := func(i int) func() {
		submitted[i] = now()
		at := &started[i]
		return func() {
			atomic.StoreInt64(at, now())
			if compute(iterations) == 1 {
				atomic.AddUint64(&sink, 1)
			}
		}
	}
	calls, nothing, cpu := newCallTimer(), newCallTimer(), newCallCPU()
	var batches []float64
	for batch := 0; batch < 5; batch++ {
		n := most(10, 500/most(1, c.taskUs))
		f := task(0)
		before := clockNs(clockProcessCPU) - beside.used().cpuNs
		for i := 0; i < n; i++ {
			f()
		}
		batches = append(batches, (clockNs(clockProcessCPU)-beside.used().cpuNs-before)/float64(n))
	}

	var alone, pooled totals
	var waits, bursts []float64
	var refused float64
	for stretch := 0; stretch < stretches; stretch++ {
		runtime.GC()
		c.measure(beside, &alone, func() {
			alone.sleeps += c.keepPace(count, func(i int) {
				submitted[i] = now()
				nothing.time(func() bool { return true })
			})
		})
		alone.tasks += float64(count)

		p := newPool(c.workers)
		c.keepPace(warmUp, func(int) { p.submitRetrying(tiny(nil, 0, 0)) })
		time.Sleep(3 * time.Millisecond)
		for i := range started {
			submitted[i], started[i] = 0, 0
		}
		var accepted float64
		c.measure(beside, &pooled, func() {
			pooled.sleeps += c.keepPace(count, func(i int) {
				f := task(i)
				submit := func() bool { return calls.time(func() bool { return p.trySubmit(f) }) }
				ok := false
				if c.computes {
					ok = cpu.time(submit)
				} else {
					ok = submit()
				}
				if ok {
					accepted++
				} else {
					submitted[i] = 0
				}
			})
			for i := range started {
				for submitted[i] != 0 && atomic.LoadInt64(&started[i]) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
		pooled.tasks += accepted
		refused += float64(count) - accepted
		for i := range started {
			if submitted[i] != 0 {
				waits = append(waits, float64(started[i]-submitted[i]))
			}
		}
		if c.atOnce > 1 {
			for i := 0; i+c.atOnce <= count; i += c.atOnce {
				last := int64(0)
				for _, at := range started[i : i+c.atOnce] {
					last = most(last, at)
				}
				if submitted[i] != 0 {
					bursts = append(bursts, float64(last-submitted[i]))
				}
			}
		}
		p.close()
	}

	paced := 0.0 // what the pacing costs it costs a sleep
	if alone.sleeps > 0 {
		paced = pooled.sleeps / alone.sleeps
	}
	cpuNs := (pooled.used.cpuNs - alone.used.cpuNs*paced) / pooled.tasks
	if c.computes {
		cpuNs += cpu.mean()
	}
	report("cpu_ns", cpuNs)
	report("pace_ns", alone.used.cpuNs/alone.tasks)
	report("sleeps", pooled.sleeps/pooled.tasks)
	report("work_ns", quantile(batches, 0.5))
	report("switches", (pooled.used.switches-alone.used.switches*paced)/pooled.tasks)
	if len(beside.places) > 0 {
		report("loss_percent", 100-100*pooled.neighbours/pooled.wall/(alone.neighbours/alone.wall))
	}
	report("refused_percent", 100*refused/(pooled.tasks+refused))
	report("tasks", pooled.tasks+float64(stretches*warmUp)) // warming up included
	calls.report("call_")
	report("wait_p50_ns", quantile(waits, 0.5))
	report("wait_p99_ns", quantile(waits, 0.99))
	report("wait_max_ns", quantile(waits, 1))
	if len(bursts) > 0 {
		report("last_p50_ns", quantile(bursts, 0.5))
		report("last_p99_ns", quantile(bursts, 0.99))
	}
}

func parsePaced(args []string) *cell {
	c := &cell{rate: float64(number(args[0])), atOnce: 1, workers: number(args[3]), ms: number(args[5])}
	switch args[1] {
	case "sleep":
	case "compute":
		c.computes = true
	case "burst":
		c.atOnce = 100
	default:
		fail("a submitter keeps its pace by sleep, compute or burst")
	}
	if args[2] != "0" {
		c.taskUs = number(args[2])
	}
	return c
}

// --- Blocking tasks, and nothing to do

func blocking(count int, length time.Duration) {
	p := newPool(count)
	var last []float64
	for end, isFirst := time.Now().Add(length), true; isFirst || len(last) == 0 || time.Now().Before(end); isFirst = false {
		starts := make([]int64, count)
		var started, ended sync.WaitGroup
		started.Add(count)
		ended.Add(count)
		open := make(chan struct{})
		start := now()
		for i := range starts {
			i := i
			p.submitRetrying(func() {
				starts[i] = now()
				started.Done()
				<-open
				ended.Done()
			})
		}
		started.Wait()
		close(open)
		ended.Wait()
		latest := int64(0)
		for _, at := range starts {
			latest = most(latest, at)
		}
		if !isFirst {
			last = append(last, float64(latest-start))
		}
		time.Sleep(5 * time.Millisecond)
	}
	report("last_p50_ns", quantile(last, 0.5))
	report("last_p99_ns", quantile(last, 0.99))
	report("samples", float64(len(last)))
	p.close()
}

func parked(workers int, length time.Duration) {
	p := newPool(workers)
	for i := 0; i < 1000; i++ {
		p.submitRetrying(tiny(nil, 0, 0))
	}
	time.Sleep(50 * time.Millisecond)
	before, start := processUsage(), now()
	time.Sleep(length)
	used, wall := processUsage().minus(before), float64(now()-start)
	report("cpu_share", used.cpuNs/wall)
	report("switches_per_s", most(0.0, used.switches-1)*1e9/wall)
	p.close()
}
