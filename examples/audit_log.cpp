// audit_log FILE: appends each line of stdin to FILE, in order, from one worker beside the reader.
//
// The worker writes as soon as no line waits, so that a burst costs few writes and a quiet time
// leaves nothing unwritten. Exit status: 0 all is on the disk; 1 lines were lost; 2 no log at all.

#include <fanout/fanout.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

class audit_log {
 public:
  explicit audit_log(const char* path)
      : file_(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    if (file_ < 0) throw std::system_error{errno, std::generic_category(), path};
    length_ = lseek(file_, 0, SEEK_END);
  }
  ~audit_log() {
    pool_.close();
    ::close(file_);
  }
  audit_log(const audit_log&) = delete;
  audit_log& operator=(const audit_log&) = delete;

  /// Waits while the buffer is full: a line of an audit is worth it. One that is not takes try_do.
  std::error_code append(std::string line,
                         fanout::source_location where = fanout::source_location::current()) {
    return pool_.do_wait([this, line = std::move(line)] { gather(line); }, where);
  }

  /// What append accepted is written, or reported as lost, and lies on the disk when this returns.
  void close() {
    pool_.close();
    if (fdatasync(file_) != 0 && errno != EINVAL) {  // EINVAL: a pipe or a device
      throw std::system_error{errno, std::generic_category(), "fdatasync"};
    }
  }

  std::size_t written() const { return written_; }  // of interest after close()
  std::size_t lost() const { return lost_; }

 private:
  void gather(std::string_view line) {
    (pending_ += line) += '\n';
    ++lines_;
    if (pool_.size() == 0 || pending_.size() >= 65536) flush();
  }

  void flush() {
    const std::string text = std::exchange(pending_, {});
    const std::size_t lines = std::exchange(lines_, 0);
    for (std::string_view rest = text; !rest.empty();) {
      const ssize_t n = write(file_, rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        const int why = errno;
        lost_ += lines;
        if (length_ >= 0 && ftruncate(file_, length_) != 0) length_ = -1;  // leaves no half line
        throw std::system_error{why, std::generic_category(),
                                std::to_string(lines) + " lines lost"};
      }
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
    written_ += lines;
    if (length_ >= 0) length_ += static_cast<off_t>(text.size());
  }

  static void report(const fanout::error_info& failure) {
    try {
      std::rethrow_exception(failure.error);
    } catch (const std::exception& reason) {
      std::fprintf(stderr, "%s: %s (%s:%u)\n", std::string{failure.pool}.c_str(), reason.what(),
                   failure.where.file_name(), static_cast<unsigned>(failure.where.line()));
    }
  }

  const int file_;
  off_t length_ = 0;  // up to the last whole line; -1: cannot be cut
  std::string pending_;
  std::size_t lines_ = 0, written_ = 0, lost_ = 0;  // the worker's, like pending_: no lock
  fanout::pool pool_{{.name = "audit", .workers = 1, .on_error = report}};  // one keeps the order
};

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fputs("usage: audit_log FILE <LINES\n", stderr);
    return 2;
  }
  audit_log log{argv[1]};
  for (std::string line; std::getline(std::cin, line);) {
    if (log.append(std::move(line))) return 2;  // closed: not before close()
  }
  log.close();
  std::printf("%zu lines written, %zu lost\n", log.written(), log.lost());
  return log.lost() == 0 ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "audit_log: %s\n", e.what());
  return 2;
}
