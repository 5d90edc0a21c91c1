// cache_aside [--redis PORT [--stall PID]]: a request reads the cache, on a miss the database, and
// answers. What does it cost to write the answer back to the cache: on the request's own thread,
// on a new thread each, through a bounded pool? And while the Redis, process PID, stands still?
//
// The database is SQLite; the cache is a map, or with --redis a Redis on 127.0.0.1.

#include <fanout/fanout.hpp>

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "redis.hpp"

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

/// 100,000 rows in a temporary file without a name. For one thread.
class database {
 public:
  database() {
    sqlite3* db = nullptr;
    sqlite3_stmt* select = nullptr;
    const int opened = sqlite3_open("", &db);
    db_.reset(db);
    if (opened != SQLITE_OK ||
        sqlite3_exec(
            db,
            "CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT);"
            "WITH RECURSIVE n(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM n LIMIT 100000) "
            "INSERT INTO item SELECT id, 'body of item ' || id FROM n",
            nullptr, nullptr, nullptr) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "SELECT body FROM item WHERE id = ?", -1, &select, nullptr) !=
            SQLITE_OK) {
      throw std::runtime_error{sqlite3_errmsg(db)};
    }
    select_.reset(select);
  }
  std::string get(int id) {
    sqlite3_reset(select_.get());
    sqlite3_bind_int(select_.get(), 1, id);
    if (sqlite3_step(select_.get()) != SQLITE_ROW) throw std::runtime_error{"no such item"};
    return reinterpret_cast<const char*>(sqlite3_column_text(select_.get(), 0));
  }

 private:
  struct release {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3, release> db_;
  std::unique_ptr<sqlite3_stmt, release> select_;
};

/// A map, or a Redis. get() is for one thread, put() for any.
class cache {
 public:
  explicit cache(int port) {
    if (port != 0) (reads_.emplace(port, 20ms), writes_.emplace(port, 50ms));
    if (port != 0) (*reads_)("PING");
  }
  /// A Redis that is silent costs one request 20 ms; after that it is left alone for a second.
  std::optional<std::string> get(const std::string& key) {
    if (!reads_) {
      const std::lock_guard lock{mutex_};
      const auto at = map_.find(key);
      return at == map_.end() ? std::nullopt : std::optional{at->second};
    }
    if (steady::now() < closed_until_) return {};
    try {
      const auto reply = (*reads_)("GET %s", key.c_str());
      if (reply->type == REDIS_REPLY_STRING) return std::string(reply->str, reply->len);
    } catch (const std::runtime_error&) {
      closed_until_ = steady::now() + 1s;
    }
    return {};
  }
  void put(const std::string& key, const std::string& body) {
    const std::lock_guard lock{mutex_};
    if (!writes_) {
      map_.insert_or_assign(key, body);
    } else {
      (*writes_)("SET %s %s EX 60", key.c_str(), body.c_str());
    }
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> map_;
  std::optional<redis> reads_, writes_;
  steady::time_point closed_until_{};
};

/// What becomes of the write-backs.
struct tally {
  std::atomic<std::size_t> written = 0, failed = 0, open = 0;
  std::size_t misses = 0, refused = 0, discarded = 0, wrong = 0, most_open = 0;
};

using job = std::function<void()>;

/// Serves requests in a `way`; hand_over takes a write-back, or says no.
void serve(const char* way, int requests, database& db, cache& near, tally& count,
           const std::function<bool(job)>& hand_over, const job& finish) {
  std::mt19937 random{42};
  std::vector<double> micros;
  for (int i = 0; i < requests; ++i) {
    const int id = static_cast<int>(random() % 1000 * (random() % 100));  // some more often
    const std::string key = way + (':' + std::to_string(getpid()) + ':' + std::to_string(id));
    const auto begin = steady::now();
    auto body = near.get(key);
    if (!body) {
      body = db.get(id);
      ++count.misses, ++count.open;
      const bool taken = hand_over([&near, &count, key, body = *body] {
        struct ending {
          tally& of;
          ~ending() { --of.open; }
        } const at_the_end{count};
        near.put(key, body);
        ++count.written;
      });
      if (!taken) ++count.refused, --count.open;
      count.most_open = std::max(count.most_open, count.open.load());
    }
    micros.push_back(std::chrono::duration<double, std::micro>(steady::now() - begin).count());
    if (*body != "body of item " + std::to_string(id)) ++count.wrong;
  }
  finish();
  std::sort(micros.begin(), micros.end());
  std::printf("%-14s %9.1f %9.1f %8zu %8zu %8zu %8zu %9zu %8zu %6zu\n", way,
              micros[micros.size() / 2], micros[micros.size() * 99 / 100], count.misses,
              count.written.load(), count.failed.load(), count.refused, count.discarded,
              count.most_open, count.wrong);
}

/// What fails is counted; a cache can do without it.
void attempt(tally& count, const job& write) try { write(); } catch (const std::exception&) {
  ++count.failed;
}

void serve_inline(const char* way, int requests, database& db, cache& near) {
  tally count;
  serve(
      way, requests, db, near, count,
      [&](const job& write) {
        attempt(count, write);
        return true;
      },
      [] {});
}

void serve_threads(const char* way, int requests, database& db, cache& near) {
  tally count;
  std::vector<std::jthread> threads;  // so that they can be joined: a bare thread has no owner
  serve(
      way, requests, db, near, count,
      [&](job write) {
        threads.emplace_back([&count, write = std::move(write)] { attempt(count, write); });
        return true;
      },
      [&] { threads.clear(); });
}

void serve_pool(const char* way, int requests, database& db, cache& near) {
  tally count;
  fanout::pool pool{{
      .name = "cache",
      .workers = 1,
      .buffer = 1024,
      .on_error = [&](const fanout::error_info&) { ++count.failed; },
  }};
  serve(
      way, requests, db, near, count, [&](job write) { return !pool.try_do(std::move(write)); },
      [&] {
        static_cast<void>(pool.close_for(200ms));  // then it discards: stats() tell how many
        count.discarded = pool.stats().discarded;
      });
}

/// Holds a process still while it lives.
struct stall {
  const pid_t pid;
  explicit stall(int number) : pid(number) {
    if (pid <= 0 || kill(pid, SIGSTOP) != 0) throw std::runtime_error{"--stall: no such process"};
  }
  ~stall() { kill(pid, SIGCONT); }
};

int main(int argc, char** argv) try {
  const std::vector<std::string> given(argv + 1, argv + argc);
  const bool stalls = given.size() == 4 && given[2] == "--stall";
  if (!given.empty() && !(given[0] == "--redis" && (given.size() == 2 || stalls))) {
    std::fputs("usage: cache_aside [--redis PORT [--stall PID]]\n", stderr);
    return 2;
  }
  cache near{given.empty() ? 0 : std::stoi(given[1])};
  database db;
  std::printf("%-14s %9s %9s %8s %8s %8s %8s %9s %8s %6s\n", "write-back", "p50 us", "p99 us",
              "misses", "written", "failed", "refused", "discarded", "at once", "wrong");
  serve_inline("inline", 5000, db, near);
  serve_threads("thread", 5000, db, near);
  serve_pool("pool", 5000, db, near);
  if (!stalls) return 0;

  const stall still{std::stoi(given[3])};
  serve_inline("inline-stalled", 20, db, near);
  serve_pool("pool-stalled", 5000, db, near);
} catch (const std::exception& e) {
  std::fprintf(stderr, "cache_aside: %s\n", e.what());
  return 2;
}
