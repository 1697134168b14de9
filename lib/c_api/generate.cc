// The C interface: generating.
#include "lib/c_api/c_api.h"

using namespace glint;
using namespace glint::c_api;

namespace glint::c_api {

ContextPolicy PolicyFrom(int policy) {
  // By glint_context_policy.
  constexpr ContextPolicy kPolicies[] = {ContextPolicy::kDropOldest, ContextPolicy::kStop,
                                         ContextPolicy::kError};
  CheckEnum(policy, std::size(kPolicies), "policy");
  return kPolicies[policy];
}

GenerateOptions GenerateOptionsFrom(const glint_generate_options* given) {
  const glint_generate_options all =
      ReadStruct(given, glint_generate_options_init(), "glint_generate_options");
  CheckEnum(all.lookup, 2, "lookup");
  GenerateOptions options;
  options.sampler = SamplerOptionsFrom(all.sampler);
  options.max_tokens = all.max_tokens;
  options.lookup = all.lookup != 0;
  options.policy = PolicyFrom(all.policy);
  if (all.on_token) {
    options.on_token = [call = all.on_token, user = all.user](int32_t id, std::string_view text) {
      return call(user, text.data(), text.size(), id) == 0;
    };
  }
  return options;
}

namespace {

glint_status FinishReply(glint_session& session, Reply reply, size_t forgotten, glint_reply* out) {
  session.reply = std::move(reply);
  const Reply& kept = session.reply;
  glint_reply result = glint_reply_init();
  result.text = kept.text.c_str();
  result.text_size = kept.text.size();
  result.ids = kept.ids.data();
  result.n_ids = kept.ids.size();
  result.prompt_tokens = kept.prompt_tokens;
  result.kept_tokens = kept.kept_tokens;
  result.forgotten_turns = forgotten;
  result.prompt_seconds = kept.prompt_seconds;
  result.reply_seconds = kept.reply_seconds;
  // By Reply::End.
  constexpr glint_end kEnds[] = {GLINT_END_STOP,      GLINT_END_LENGTH, GLINT_END_CONTEXT_FULL,
                                 GLINT_END_CANCELLED, GLINT_END_ERROR,  GLINT_END_CALLBACK};
  result.end = kEnds[static_cast<size_t>(kept.end)];
  if (out) WriteStruct(result, out, "glint_reply");
  // The end of the context is no failure, unless there was no room for a first token.
  return kept.end == Reply::End::kContextFull && !kept.ids.empty() ? GLINT_OK
                                                                   : FromStatus(kept.status);
}

}  // namespace

glint_status Answer(glint_session& session, const MakeReply& make, glint_reply* out) {
  const int32_t pending = std::exchange(session.pending, -1);
  size_t forgotten = 0;
  try {
    Reply reply = make(pending, &forgotten);
    if (!reply.ids.empty()) {
      if (reply.n_run < reply.ids.size()) session.pending = reply.ids.back();
    } else if (reply.status != Status::kOk && session.session->length() != 0) {
      session.pending = pending;  // the old sequence has stayed as it was
    }
    return FinishReply(session, std::move(reply), forgotten, out);
  } catch (const DoesNotFit& error) {
    session.pending = pending;
    Reply full;
    full.prompt_tokens = error.tokens();
    full.status = Status::kContextFull;
    full.end = Reply::End::kContextFull;
    FinishReply(session, std::move(full), 0, out);
    throw;
  } catch (const Error&) {  // nothing was computed
    session.pending = pending;
    throw;
  }
}

}  // namespace glint::c_api

glint_status glint_generate(glint_session* session, const int32_t* ids, size_t n_ids,
                            const glint_generate_options* options, glint_reply* reply) {
  return WithSession(session, GLINT_ERROR_ARGUMENT, [&](glint_session& s) {
    // First, so that nothing is computed for a result that cannot be written.
    if (reply) WriteStruct(glint_reply_init(), reply, "glint_reply");
    TokenizerOf(*s.model.get());
    const std::span<const int32_t> prompt = IdsArgument(ids, n_ids);
    if (prompt.empty() && s.session->length() == 0) {
      ThrowArgument("there is no sequence to go on with");
    }
    const GenerateOptions all = GenerateOptionsFrom(options);
    const auto make = [&](int32_t pending, size_t*) {
      return prompt.empty() ? Continue(*s.session, pending, all, nullptr)
                            : Generate(*s.session, prompt, all, nullptr);
    };
    return Answer(s, make, reply);
  });
}
