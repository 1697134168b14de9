#include "tests/questions.h"

#include <sstream>

#include "formats/json.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "tests/test_util.h"

namespace glint {

std::vector<Question> ReadQuestions(const std::string& path) {
  std::istringstream lines(ReadFile(path));
  std::vector<Question> questions;
  for (std::string line; std::getline(lines, line);) {
    const std::string where = path + ": line " + std::to_string(questions.size() + 1);
    const nlohmann::json row = ParseJson(line, where);
    Question question;
    question.lang = GetString(row, "lang", where);
    question.family = GetString(row, "family", where);
    question.question = GetString(row, "question", where);
    question.answer = GetString(row, "answer", where);
    for (const auto& turn : GetArray(row, "history", where)) {
      question.messages.push_back({"user", turn.at(0).get<std::string>()});
      question.messages.push_back({"assistant", turn.at(1).get<std::string>()});
    }
    question.messages.push_back({"user", question.question});
    questions.push_back(std::move(question));
  }
  return questions;
}

std::map<std::string, Grade> GradeModel(const Model& model, const std::vector<Question>& questions,
                                        size_t threads) {
  if (!model.chat() || !model.tokenizer()) {
    throw Error(model.file().path() + ": the model has no chat format or no tokenizer");
  }
  SessionOptions session_options;
  session_options.kv = DefaultKv(model);
  session_options.threads = threads;
  Session session(model, session_options);
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.max_tokens = 64;
  options.format = model.chat();
  std::map<std::string, Grade> grades;
  for (const Question& q : questions) {
    const Reply reply = Generate(session, model.chat()->Build(q.messages).ids, options, {});
    if (reply.end == Reply::End::kError) {
      throw Error(model.file().path() + ": " + Describe(reply.status));
    }
    for (const std::string& group : {std::string("all"), q.lang, q.lang + " " + q.family}) {
      grades[group].right += reply.text == q.answer ? 1 : 0;
      grades[group].asked += 1;
    }
  }
  return grades;
}

}  // namespace glint
