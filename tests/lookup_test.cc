// Look-up decoding: the index against a plain scan, and replies that are the same with it as
// without.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "formats/convert/convert.h"
#include "formats/json.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "lib/lookup.h"
#include "tests/test_util.h"

using namespace glint;

namespace {

// What LookupDraft promises, by looking at everything.
class Scan {
 public:
  explicit Scan(const LookupTuning& tuning) : tuning_(tuning) {}

  void Add(int32_t id) {
    LookupDraft::Match moved;
    if (match_.length != 0 && ids_[match_.next] == id) {
      moved = {match_.next + 1, std::min(match_.length + 1, LookupDraft::kMaxMatch)};
    }
    ids_.push_back(id);
    LookupDraft::Match found;
    for (size_t gram = tuning_.max_gram; gram >= tuning_.min_gram && found.length == 0; --gram) {
      for (size_t next = ids_.size(); --next >= gram && found.length == 0;) {
        if (Common(next) >= gram) found = {next, std::min(Common(next), LookupDraft::kMaxMatch)};
      }
    }
    match_ = moved.length > found.length ? moved : found;
  }
  const LookupDraft::Match& match() const { return match_; }

 private:
  size_t Common(size_t next) const {
    size_t n = 0;
    while (n < next && ids_[next - 1 - n] == ids_[ids_.size() - 1 - n]) ++n;
    return n;
  }

  LookupTuning tuning_;
  std::vector<int32_t> ids_;
  LookupDraft::Match match_;
};

}  // namespace

TEST_CASE("the index finds what a scan of everything finds") {
  std::mt19937 random(5);
  for (const auto& [min_gram, max_gram] : {std::pair<size_t, size_t>(1, 4), {2, 3}, {3, 3}}) {
    for (const uint32_t alphabet : {1, 2, 3, 10, 100, 50000}) {
      CAPTURE(alphabet);
      LookupTuning tuning;
      tuning.min_gram = min_gram;
      tuning.max_gram = max_gram;
      LookupDraft lookup(400, tuning);
      Scan scan(tuning);
      std::vector<int32_t> ids;
      for (int i = 0; i < 400; ++i) {
        // Now and then a stretch from before, so that long matches occur in large alphabets too.
        const size_t from = ids.size() > 40 ? ids.size() - 40 + random() % 3 : 0;
        const bool copied = from != 0 && i / 50 % 2 == 1;
        const int32_t id = copied ? ids[from] : static_cast<int32_t>(random() % alphabet);
        ids.push_back(id);
        lookup.Add(id);
        scan.Add(id);
        REQUIRE(lookup.match().length == scan.match().length);
        if (scan.match().length != 0) REQUIRE(lookup.match().next == scan.match().next);
      }
    }
  }
}

TEST_CASE("guesses copy what followed, and run on in circles") {
  LookupDraft lookup(100);
  int32_t draft[7];
  CHECK(lookup.Propose(draft) == 0);
  for (int round = 0; round < 20; ++round) {
    for (const int32_t id : {11, 12, 13}) lookup.Add(id);
  }
  REQUIRE(lookup.Propose(draft) == 7);
  CHECK(std::vector<int32_t>(draft, draft + 7) == std::vector<int32_t>{11, 12, 13, 11, 12, 13, 11});
  CHECK(lookup.Propose(std::span(draft).first(2)) == 2);
  CHECK(lookup.Propose({}) == 0);
}

TEST_CASE("drafting backs off where guesses fail and comes back where they hold") {
  std::mt19937 random(3);
  LookupDraft lookup(4000);
  int32_t draft[7];
  const auto random_text = [&](int n) {
    size_t proposed = 0;
    for (int i = 0; i < n; ++i) {
      lookup.Add(static_cast<int32_t>(random() % 50));
      proposed += lookup.Propose(draft);
    }
    return proposed;
  };
  random_text(500);
  // Every end of one id has occurred, and what followed is right once in 50 times.
  CHECK(random_text(1000) < 100);
  const std::vector<int32_t> before(lookup.ids().end() - 200, lookup.ids().end());
  size_t proposed = 0;
  for (const int32_t id : before) {
    lookup.Add(id);
    proposed += lookup.Propose(draft);
  }
  CHECK(proposed > 200 * 5);
  CHECK(random_text(1000) < 100);
}

TEST_CASE("a full index stays quiet") {
  LookupDraft lookup(6);
  int32_t draft[4];
  for (int i = 0; i < 5; ++i) lookup.Add(7);
  CHECK(lookup.Propose(draft) > 0);
  for (int i = 0; i < 5; ++i) lookup.Add(7);
  CHECK(lookup.ids().size() == 6);
  CHECK(lookup.Propose(draft) == 0);
  LookupDraft none(0);
  none.Add(1);
  CHECK(none.Propose(draft) == 0);
}

namespace {

std::string TinySource() {
  return SourceDir() + "/examples/tiny/model";
}

std::unique_ptr<Model> ConvertTiny(const std::string& source) {
  ConvertOptions options;
  options.source = source;
  options.write.output = TempDir() + "/tiny.glint";
  options.has_type = true;
  options.type = DType::kInt4;
  Convert(options);
  return Model::Open(options.write.output);
}

const Model& Tiny() {
  static const std::unique_ptr<Model> model = ConvertTiny(TinySource());
  return *model;
}

std::unique_ptr<Session> Open(size_t max_batch, size_t context = 0, const Model& model = Tiny()) {
  SessionOptions options;
  options.context = context;
  options.threads = 2;
  options.max_batch = max_batch;
  return std::make_unique<Session>(model, options);
}

// A session without look-up and one with it, which must not differ.
struct Pair {
  explicit Pair(const Model& model, size_t context = 0, size_t max_batch = kLookupBatch)
      : plain(Open(1, context, model)), lookup(Open(max_batch, context, model)) {}

  // Generates with both. The reply of the one with look-up, after all of it has been compared.
  Reply Check(std::span<const int32_t> prompt, GenerateOptions options) {
    std::vector<std::string> pieces[2];
    const auto into = [](std::vector<std::string>* list) {
      return [list](std::string_view piece) { list->emplace_back(piece); };
    };
    const Reply want = Generate(*plain, prompt, options, into(&pieces[0]));
    options.lookup = true;
    Reply reply = Generate(*lookup, prompt, options, into(&pieces[1]));
    CHECK(reply.ids == want.ids);
    CHECK(reply.text == want.text);
    CHECK(reply.end == want.end);
    CHECK(reply.status == want.status);
    CHECK(pieces[1] == pieces[0]);
    // What is in the session goes on alike, too.
    CHECK(lookup->length() == plain->length());
    CHECK(std::ranges::equal(lookup->logits(), plain->logits()));
    CHECK(want.drafted == 0);
    CHECK(want.runs == plain->length() - prompt.size());
    CHECK(reply.runs <= want.runs);
    CHECK(reply.runs + reply.accepted == want.runs);
    CHECK(reply.accepted <= reply.drafted);
    return reply;
  }

  std::unique_ptr<Session> plain, lookup;
};

std::vector<int32_t> Encode(const std::string& text) {
  return Tiny().tokenizer()->EncodeWithSpecial(text);
}

// Greedy, and samplers that draw numbers, cut and punish in different ways.
std::vector<SamplerOptions> Samplers() {
  std::vector<SamplerOptions> all(5);
  all[0].temperature = 0;
  all[1].seed = 1;
  all[2] = {1.5f, 1.0f, 0, 1.0f, 2};
  all[3] = {0.8f, 0.9f, 20, 1.3f, 3};
  all[4] = {0, 0.7f, 50, 1.2f, 0};
  return all;
}

constexpr char kCopy[] = "Copy this: iron driver grape play";

}  // namespace

TEST_CASE("every task of the tiny model: the same with look-up, greedy and drawn") {
  std::istringstream lines(ReadFile(SourceDir() + "/examples/tiny/questions.jsonl"));
  std::set<std::string> families;
  std::map<std::string, int> seen;
  Pair pair(Tiny());
  size_t accepted = 0, number = 0;
  for (std::string line; std::getline(lines, line); ++number) {
    const nlohmann::json row = ParseJson(line, "questions.jsonl");
    const std::string family =
        row.at("family").get<std::string>() + row.at("lang").get<std::string>();
    if (++seen[family] > 4) continue;
    families.insert(row.at("family"));
    CAPTURE(line);
    std::vector<ChatMessage> messages;
    for (const auto& turn : row.at("history")) {
      messages.push_back({"user", turn[0]});
      messages.push_back({"assistant", turn[1]});
    }
    messages.push_back({"user", row.at("question")});
    GenerateOptions options;
    options.format = Tiny().chat();
    options.max_tokens = 48;
    const std::vector<SamplerOptions> samplers = Samplers();
    for (const size_t s : {size_t{0}, 1 + number % 4}) {
      options.sampler = samplers[s];
      accepted +=
          pair.Check(options.format->Build(messages).ids, options).accepted;
    }
  }
  CHECK(families.size() >= 14);
  CHECK(accepted > 100);
}

TEST_CASE("any prompt, any sampler, any size of batch: the same with look-up") {
  std::mt19937 random(11);
  const std::vector<SamplerOptions> samplers = Samplers();
  for (const size_t max_batch : {2, 3, 8, 16}) {
    Pair pair(Tiny(), 0, max_batch);
    for (size_t round = 0; round < 10; ++round) {
      std::vector<int32_t> prompt;
      const size_t n = random() % 60;
      for (size_t i = 0; i < n; ++i) {
        const bool again = i > 8 && random() % 4 != 0;
        prompt.push_back(again ? prompt[i - 1 - random() % 3]
                               : static_cast<int32_t>(random() % 2500));
      }
      prompt.push_back(Tiny().prompt_ids().gmask);
      prompt.push_back(Tiny().prompt_ids().sop);
      GenerateOptions options;
      options.sampler = samplers[round % samplers.size()];
      options.max_tokens = 60;
      pair.Check(prompt, options);
    }
  }
}

TEST_CASE("max_tokens and the context end a reply at the same token") {
  const std::vector<int32_t> prompt = Encode(kCopy);
  GenerateOptions options;
  options.sampler.temperature = 0;
  Pair whole(Tiny());
  const Reply reply = whole.Check(prompt, options);
  CHECK(reply.end == Reply::End::kStop);
  CHECK(reply.accepted >= 10);
  CHECK(reply.runs * 2 < reply.ids.size());
  for (size_t n = 1; n <= reply.ids.size(); ++n) {
    CAPTURE(n);
    options.max_tokens = n;
    CHECK(whole.Check(prompt, options).end == Reply::End::kLength);
    options.max_tokens = 0;
    Pair small(Tiny(), prompt.size() + n - 1);
    CHECK(small.Check(prompt, options).end == Reply::End::kContextFull);
  }
}

TEST_CASE("a cancel ends a reply at the same token") {
  const std::vector<int32_t> prompt = Encode(kCopy);
  GenerateOptions options;
  options.sampler.temperature = 0;
  Pair pair(Tiny());
  size_t n_pieces = 0;
  Generate(*pair.plain, prompt, options, [&](std::string_view) { ++n_pieces; });
  CHECK(n_pieces > 8);
  for (size_t stop_at = 1; stop_at <= n_pieces; ++stop_at) {
    CAPTURE(stop_at);
    Reply replies[2];
    for (const bool use : {false, true}) {
      Session& session = use ? *pair.lookup : *pair.plain;
      size_t n = 0;
      options.lookup = use;
      replies[use] = Generate(session, prompt, options, [&](std::string_view) {
        if (++n == stop_at) session.Cancel();
      });
      session.ClearCancel();
    }
    CHECK(replies[0].end == Reply::End::kCancelled);
    CHECK(replies[1].end == Reply::End::kCancelled);
    CHECK(replies[1].ids == replies[0].ids);
    CHECK(replies[1].text == replies[0].text);
    CHECK(pair.lookup->length() == pair.plain->length());
    CHECK(std::ranges::equal(pair.lookup->logits(), pair.plain->logits()));
  }
}

namespace {

// The tiny model with another stop id.
std::unique_ptr<Model> StopsAt(int32_t id) {
  const std::string folder = TempDir();
  for (const auto& entry : std::filesystem::directory_iterator(TinySource())) {
    std::filesystem::copy(entry.path(), folder);
  }
  nlohmann::json config = ParseJson(ReadFile(folder + "/config.json"), "config.json");
  config["eos_token_id"] = id;
  WriteFile(folder + "/config.json", config.dump());
  return ConvertTiny(folder);
}

}  // namespace

TEST_CASE("a stop id inside an accepted draft ends the reply") {
  // With an ordinary id that the prompt holds as the stop id, drafts hold it too.
  const std::vector<int32_t> prompt = Encode(kCopy);
  GenerateOptions options;
  options.sampler.temperature = 0;
  const std::vector<int32_t> whole = Generate(*Open(1), prompt, options, {}).ids;
  size_t inside = 0;
  for (size_t n = 6; n < 12; ++n) {
    const auto end = whole.begin() + static_cast<ptrdiff_t>(n);
    if (std::find(whole.begin(), end, *end) != end) continue;
    const std::unique_ptr<Model> model = StopsAt(*end);
    REQUIRE(model->prompt_ids().stop == std::vector<int32_t>{*end});
    Pair pair(*model);
    options.max_tokens = 0;
    const Reply reply = pair.Check(prompt, options);
    CHECK(reply.end == Reply::End::kStop);
    CHECK(reply.ids == std::vector<int32_t>(whole.begin(), end));
    // The token before it needed no run of its own, and guesses were left: it was one of them.
    options.max_tokens = n;
    const size_t runs = pair.Check(prompt, options).runs;
    if (runs == reply.runs && reply.drafted > reply.accepted) ++inside;
  }
  CHECK(inside >= 1);
}

TEST_CASE("a chat with look-up is the same chat") {
  const std::unique_ptr<Session> sessions[] = {Open(1), Open(kLookupBatch)};
  std::string said[2];
  size_t accepted = 0;
  for (const bool use : {false, true}) {
    Chat chat(*sessions[use]);
    GenerateOptions options;
    options.lookup = use;
    options.max_tokens = 40;
    for (const char* query :
         {"Say after me: iron driver grape play", "Say after me: iron driver", "hello"}) {
      options.sampler.seed += 1;
      const Reply reply = chat.Ask(query, options, {});
      said[use] += reply.text + "\n";
      accepted += reply.accepted;
    }
  }
  CHECK(said[0] == said[1]);
  CHECK(accepted > 0);
}

TEST_CASE("look-up asks for a session that takes batches") {
  const std::unique_ptr<Session> session = Open(1);
  GenerateOptions options;
  options.lookup = true;
  CHECK_THROWS_WITH_AS(Generate(*session, Encode("hello"), options, {}),
                       doctest::Contains("max_batch"), Error);
}
