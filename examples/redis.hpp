// A connection to a Redis on 127.0.0.1, through hiredis, with a time limit on each command.

#ifndef FANOUT_EXAMPLES_REDIS_HPP
#define FANOUT_EXAMPLES_REDIS_HPP

#include <hiredis/hiredis.h>
#include <sys/time.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>

/// For one thread at a time.
class redis {
 public:
  struct release {
    void operator()(redisContext* context) const { redisFree(context); }
    void operator()(redisReply* reply) const { freeReplyObject(reply); }
  };
  using reply = std::unique_ptr<redisReply, release>;

  redis(int port, std::chrono::microseconds limit) : port_(port), limit_(limit) {}

  /// Throws std::runtime_error if Redis does not answer in time or answers with an error. The
  /// command after a silence opens a new connection.
  template <class... Args> reply operator()(const char* format, Args... args) {
    using namespace std::chrono_literals;
    const timeval limit{limit_ / 1s, static_cast<suseconds_t>((limit_ % 1s).count())};
    if (!context_) {
      context_.reset(redisConnectWithTimeout("127.0.0.1", port_, limit));
      if (context_ && context_->err == 0) redisSetTimeout(context_.get(), limit);
    }
    reply answer;
    if (context_ && context_->err == 0) {
      answer.reset(static_cast<redisReply*>(redisCommand(context_.get(), format, args...)));
    }
    if (!answer) {
      const std::string why = context_ ? context_->errstr : "out of memory";
      context_.reset();
      throw std::runtime_error{"Redis: " + why};
    }
    if (answer->type == REDIS_REPLY_ERROR) throw std::runtime_error{answer->str};
    return answer;
  }

 private:
  int port_;
  std::chrono::microseconds limit_;
  std::unique_ptr<redisContext, release> context_;
};

#endif  // FANOUT_EXAMPLES_REDIS_HPP
