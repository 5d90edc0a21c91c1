// write_behind FILE ROWS [each] | write_behind FILE count: rows for an SQLite table, written behind the
// caller by one worker. What came together is one transaction: a row opens it, the idle hook commits
// it. `each` commits every row by itself, for comparison.
//
// Says "committed N" only after the commit, so that a reader may rely on it whatever ends the process.

#include <fanout/fanout.hpp>

#include <sqlite3.h>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

/// A connection, for one thread at a time.
class database {
 public:
  explicit database(const char* file) {
    if (sqlite3_open(file, &db_) != SQLITE_OK) fail();
    run("CREATE TABLE IF NOT EXISTS rows(id INTEGER PRIMARY KEY, text TEXT NOT NULL)");
    if (sqlite3_prepare_v2(db_, "INSERT INTO rows VALUES(?, ?)", -1, &insert_, nullptr) !=
        SQLITE_OK) {
      fail();
    }
  }
  ~database() {
    sqlite3_finalize(insert_);
    sqlite3_close(db_);
  }
  database(const database&) = delete;
  database& operator=(const database&) = delete;

  void run(const char* statement) {
    if (sqlite3_exec(db_, statement, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
  }

  /// A row that fails, as one whose id is taken, leaves the transaction as it was.
  void insert(std::int64_t id, const std::string& text) {
    sqlite3_bind_int64(insert_, 1, id);
    sqlite3_bind_text(insert_, 2, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    sqlite3_step(insert_);
    if (sqlite3_reset(insert_) != SQLITE_OK) fail();
  }

  std::int64_t count() {
    std::int64_t rows = 0;
    const auto first = [](void* result, int, char** values, char**) {
      *static_cast<std::int64_t*>(result) = std::stoll(values[0]);
      return 0;
    };
    sqlite3_exec(db_, "SELECT count(*) FROM rows", first, &rows, nullptr);
    return rows;
  }

 private:
  [[noreturn]] void fail() { throw std::runtime_error(sqlite3_errmsg(db_)); }
  sqlite3* db_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
};

/// The writer's state: its one worker alone touches it.
class writer {
 public:
  writer(const char* file, bool each) : db_(file), each_(each) {}

  void put(std::int64_t id, const std::string& text) {
    if (open_ == 0) db_.run("BEGIN");
    ++open_;
    db_.insert(id, text);
    ++pending_;
    if (each_ || open_ == most_) commit();
  }
  void commit() {
    if (open_ == 0) return;
    db_.run("COMMIT");
    open_ = 0;
    committed_ += std::exchange(pending_, 0);
    if (!each_) std::printf("committed %lld\n", static_cast<long long>(committed_));
    std::fflush(stdout);
  }

 private:
  static constexpr std::int64_t most_ = 10'000;  // rows of a transaction, however busy it is
  database db_;
  const bool each_;
  std::int64_t open_ = 0, pending_ = 0, committed_ = 0;
};

int main(int count, char** words) try {
  std::int64_t rows = 0;
  const std::string_view how = count > 2 ? words[2] : "";
  if (how == "count") {
    std::printf("%lld rows\n", static_cast<long long>(database(words[1]).count()));
    return 0;
  }
  const auto [end, error] = std::from_chars(how.data(), how.data() + how.size(), rows);
  const bool each = count == 4 && std::string_view(words[3]) == "each";
  if (how.empty() || error != std::errc{} || *end != '\0' || rows < 1 || (count != 3 && !each)) {
    std::fputs("usage: write_behind FILE ROWS [each] | write_behind FILE count\n", stderr);
    return 2;
  }

  writer behind(words[1], each);
  fanout::pool pool{{
      .name = "rows",
      .on_error =
          [](const fanout::error_info& failed) {
            try {
              std::rethrow_exception(failed.error);
            } catch (const std::exception& e) {
              std::fprintf(stderr, "a row is lost: %s\n", e.what());
            }
          },
      .on_worker_idle = [&](std::size_t) { behind.commit(); },
  }};
  const auto begin = std::chrono::steady_clock::now();
  for (std::int64_t id = 1; id <= rows; ++id) {
    const auto key = id == rows / 2 ? 1 : id;  // one in the middle, whose id is taken
    if (auto err = pool.do_wait([&behind, key] { behind.put(key, "an audit line"); })) {
      std::fprintf(stderr, "%s\n", err.message().c_str());
      return 1;
    }
  }
  pool.close();  // the last commit is part of it
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  std::printf("%.0f rows/s, %llu failed\n", static_cast<double>(rows) / time.count(),
              static_cast<unsigned long long>(pool.stats().failed));
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s: %s\n", words[1], e.what());
  return 1;
}
