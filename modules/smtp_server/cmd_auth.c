/*
 * cmd_auth.c - AUTH (RFC 4954): PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 7677).
 *
 * Called by command.c, on the session's loop: the command, then the client's lines in
 * S_AUTH.  The hook auth is asked first (judged), then smtp_users.  Passwords are hashed on a helper thread (S_VERIFY), for a name that is not
 * known as for one that is; a refusal is said smtpd_auth_delay after the attempt
 * began, so that nothing can be read from its time.  The session outlives its connection
 * until the helper has done.
 *
 * Owns struct smtpd_auth for the time of an exchange.  Whatever a client has told us is
 * wiped when it has been used, here and in the buffers of io.c; in `line` events there
 * is [credentials] in its place.
 */
#include <stdlib.h>
#include <string.h>

#include "auth.h"
#include "base64.h"
#include "guard.h"
#include "params.h"
#include "password.h"
#include "scram.h"

struct smtpd_auth {
	struct smtpd_session *s;
	enum smtpd_mech mech;
	uint64_t began_ms;		/* of the attempt: its last line */
	char *text;			/* what was decoded, all of it */
	size_t ntext;
	struct ga_str name, password;	/* in text */
	bool asked_password;		/* LOGIN: name is there */
	struct smtpd_scram *scram;
	bool proven;			/* SCRAM: the client has still to say that it heard us */
	const struct smtpd_user *user;	/* NULL: not known */
	struct ga_work work;
	bool busy;			/* with a helper */
	bool matches;
	bool refused;			/* ... but not yet told */
};

static const struct ga_str mech_names[SMTPD_MECHS] = {
	[SMTPD_PLAIN] = GA_STR("PLAIN"),
	[SMTPD_LOGIN] = GA_STR("LOGIN"),
	[SMTPD_SCRAM_SHA_256] = GA_STR("SCRAM-SHA-256"),
};

/* --- what may be used --- */

static bool
has_mech(const struct smtpd_session *s, enum smtpd_mech mech)
{
	const struct smtpd_users *users = s->gen->access.users;

	return mech != SMTPD_SCRAM_SHA_256 ||
	    (smtpd_scram_built_in && users != NULL && smtpd_users_have_scram(users));
}

/* PLAIN and LOGIN show the password to whoever listens. */
static bool
needs_tls(const struct smtpd_session *s, enum smtpd_mech mech)
{
	return mech != SMTPD_SCRAM_SHA_256 && !s->tls && !s->gen->conf->smtp_auth_without_tls;
}

struct ga_str
smtpd_auth_mechs(const struct smtpd_session *s, char room[SMTPD_SHOWN])
{
	size_t n = 0;

	if (!s->gen->access.auth || s->user.n > 0)
		return (struct ga_str){ room, 0 };
	for (enum smtpd_mech i = 0; i < SMTPD_MECHS; i++) {
		if (!has_mech(s, i) || needs_tls(s, i))
			continue;
		if (n > 0)
			room[n++] = ' ';
		memcpy(room + n, mech_names[i].p, mech_names[i].n);
		n += mech_names[i].n;
	}
	return (struct ga_str){ room, n };
}

static enum smtpd_mech
mech_of(struct ga_str name)
{
	enum smtpd_mech i = 0;

	while (i < SMTPD_MECHS && !ga_str_caseeq(mech_names[i], name))
		i++;
	return i;
}

/* --- what is shown --- */

static struct ga_str
first_word(struct ga_str *rest)
{
	const char *blank = memchr(rest->p, ' ', rest->n);
	struct ga_str word = { rest->p, blank != NULL ? (size_t)(blank - rest->p) : rest->n };

	*rest = ga_str_trim((struct ga_str){ rest->p + word.n, rest->n - word.n });
	return word;
}

bool
smtpd_line_secret(const struct smtpd_session *s, struct ga_str line, bool known)
{
	struct ga_str rest = ga_str_trim(line);

	return s->state == S_AUTH || (s->auth_tried && !known) ||
	    ga_str_caseeq(first_word(&rest), GA_STR("AUTH"));
}

struct ga_str
smtpd_line_shown(const struct smtpd_session *s, struct ga_str line, bool known,
    char room[SMTPD_SHOWN])
{
	struct ga_str rest = ga_str_trim(line), word;
	size_t n = 0;

	if (!smtpd_line_secret(s, line, known) || ga_str_eq(line, GA_STR("*")))
		return line;
	if (s->state != S_AUTH && ga_str_caseeq(first_word(&rest), GA_STR("AUTH"))) {
		word = first_word(&rest);
		memcpy(room, "AUTH ", n = 5);
		if (mech_of(word) != SMTPD_MECHS) {	/* else it may be the secret itself */
			memcpy(room + n, word.p, word.n);
			n += word.n;
			if (rest.n == 0)
				return (struct ga_str){ room, n };
			room[n++] = ' ';
		} else if (word.n == 0) {
			return GA_STR("AUTH");
		}
	}
	memcpy(room + n, "[credentials]", 13);
	return (struct ga_str){ room, n + 13 };
}

/* --- the end of an exchange --- */

static void
forget_text(struct smtpd_auth *a)
{
	if (a->text != NULL)
		explicit_bzero(a->text, a->ntext);
	free(a->text);
	a->text = NULL;
	a->ntext = 0;
	a->name = a->password = (struct ga_str){ "", 0 };
}

static void
free_exchange(struct smtpd_session *s)
{
	struct smtpd_auth *a = s->auth;

	if (a == NULL || a->busy)
		return;
	s->auth = NULL;
	forget_text(a);
	smtpd_scram_free(a->scram);
	free(a);
}

void
smtpd_auth_stop(struct smtpd_session *s)
{
	free_exchange(s);
	if (s->state == S_AUTH || s->state == S_VERIFY)
		smtpd_next_command(s);
}

bool
smtpd_auth_busy(const struct smtpd_session *s)
{
	return s->auth != NULL && s->auth->busy;
}

void
smtpd_auth_forget(struct smtpd_session *s)
{
	free_exchange(s);
	s->user = s->user_class = (struct ga_str){ "", 0 };
	s->relays = s->peer_relays;
}

static void
succeed(struct smtpd_session *s, struct ga_str name, struct ga_str mail_class)
{
	struct ga_pool *pool = ga_session_pool(s->ga);

	s->user = ga_dup(pool, name);
	s->user_class = ga_dup(pool, mail_class);
	s->relays = true;
	/* who may relay is not held to max_connections_per_client */
	smtpd_limits_uncount(s->client);
	s->client = NULL;
	ga_log(s->w->inst, GA_INFO, "GA-SMTPD-0017", "session %llu of %s: %.*s has authenticated (%s)",
	    (unsigned long long)s->id, s->peer_text, (int)s->user.n, s->user.p,
	    mech_names[s->auth->mech].p);
	smtpd_auth_stop(s);
	smtpd_say(s, "235 2.7.0 Authentication successful");
}

static void
say_refused(struct smtpd_session *s)
{
	smtpd_auth_stop(s);
	smtpd_say(s, "535 5.7.8 Authentication credentials are not valid");
	if (++s->auth_failures >= (uint64_t)s->gen->conf->max_auth_failures)
		smtpd_goodbye(s, "4.7.0", "Too many failed logins");
}

/* The name of somebody we do not know may be a password: it is not logged. */
static void
refuse(struct smtpd_session *s)
{
	struct smtpd_auth *a = s->auth;
	uint64_t now = ga_now_ms(s->w->loop);
	uint64_t due = a->began_ms + s->gen->conf->smtpd_auth_delay;

	smtpd_guard_failed(s->gen->service->limits.guard, &s->peer, now);
	ga_log(s->w->inst, GA_INFO, "GA-SMTPD-0018", "session %llu of %s: login refused (%s, %s%.*s)",
	    (unsigned long long)s->id, s->peer_text, mech_names[a->mech].p,
	    a->user != NULL ? "user " : "no such user", a->user != NULL ? (int)a->user->name.n : 0,
	    a->user != NULL ? a->user->name.p : "");
	forget_text(a);
	if (now >= due) {
		say_refused(s);
		return;
	}
	a->refused = true;
	smtpd_enter_state(s, S_VERIFY);
	smtpd_deadline(s, due - now);
}

void
smtpd_auth_tick(struct smtpd_session *s)
{
	if (s->auth == NULL || !s->auth->refused) {
		smtpd_deadline(s, s->gen->conf->smtpd_timeout);
		return;
	}
	say_refused(s);
	smtpd_resume_input(s);
}

/* --- a password, on a helper thread --- */

/* Helper thread: nothing of the session but what does not change meanwhile. */
static void
check_password(struct ga_work *work)
{
	struct smtpd_auth *a = GA_CONTAINER(work, struct smtpd_auth, work);
	const struct smtpd_users *users = a->s->gen->access.users;
	const struct smtpd_user *user = a->user;
	bool matches = false;

	if (user == NULL)
		user = smtpd_users_decoy(users, a->name);
	if (user != NULL)
		matches = smtpd_password_matches(user, a->password);
	a->matches = matches && a->user != NULL;
}

static void
password_checked(struct ga_worker *loop, struct ga_work *work)
{
	struct smtpd_auth *a = GA_CONTAINER(work, struct smtpd_auth, work);
	struct smtpd_session *s = a->s;

	a->busy = false;
	smtpd_enter(s);
	if (s->state != S_VERIFY) {
		free_exchange(s);	/* the client has gone */
	} else if (a->matches) {
		succeed(s, a->user->name, a->user->mail_class);
		smtpd_resume_input(s);
	} else {
		refuse(s);
		if (s->state != S_VERIFY)
			smtpd_resume_input(s);
	}
	smtpd_leave(s);
}

/* Nobody has decided yet: smtp_users does. */
static void
verify(struct smtpd_session *s)
{
	struct smtpd_auth *a = s->auth;

	a->user = smtpd_users_find(s->gen->access.users, a->name);
	a->work.run = check_password;
	a->work.done = password_checked;
	a->busy = true;
	smtpd_enter_state(s, S_VERIFY);
	smtpd_deadline(s, s->gen->conf->smtpd_timeout);
	ga_work(s->w->loop, &a->work);
}

/* --- the hook --- */

static void
say_later(struct smtpd_session *s)
{
	smtpd_auth_stop(s);
	smtpd_say(s, "454 4.7.0 Cannot authenticate now, try again later");
}

/* The modules have answered about a->name. */
static void
judged(struct smtpd_session *s, enum ga_verdict v)
{
	struct smtpd_auth *a = s->auth;

	if (v == GA_ACCEPT && a->scram == NULL && smtpd_user_name_valid(a->name) &&
	    ga_utf8_valid(a->name)) {
		succeed(s, a->name, (struct ga_str){ "", 0 });
	} else if (v == GA_REJECT || (v == GA_ACCEPT && a->scram == NULL)) {
		refuse(s);
	} else if (v == GA_TEMPFAIL && s->run.reply.code == 0) {
		say_later(s);
	} else if (v == GA_TEMPFAIL || v == GA_CLOSE) {
		smtpd_auth_stop(s);
		smtpd_refused(s, v);
	} else if (a->scram != NULL) {
		succeed(s, a->user->name, a->user->mail_class);
	} else if (s->gen->access.users == NULL) {
		say_later(s);
	} else {
		verify(s);
	}
}

static void
ask(struct smtpd_session *s)
{
	struct smtpd_auth *a = s->auth;

	s->ev.auth = (struct ga_ev_auth){ .s = s->ga, .mechanism = mech_names[a->mech],
		.user = a->scram != NULL ? a->user->name : a->name, .password = a->password };
	smtpd_ask(s, GA_HOOK_auth, &s->ev.auth, judged);
}

/* --- mechanisms --- */

static void
malformed(struct smtpd_session *s)
{
	smtpd_auth_stop(s);
	smtpd_say(s, "501 5.5.2 Not what this mechanism says");
}

/* Asks for the next line.  secret: those who log see that there was one. */
static void
challenge(struct smtpd_session *s, struct ga_str text, bool secret)
{
	smtpd_say_secret(s, text, secret ? GA_STR("334 [credentials]\r\n") : text);
	smtpd_enter_state(s, S_AUTH);
	smtpd_deadline(s, s->gen->conf->smtpd_timeout);
}

/* [authzid] NUL authcid NUL passwd; nobody acts for another. */
static void
plain_response(struct smtpd_session *s)
{
	struct smtpd_auth *a = s->auth;
	const char *end = a->text + a->ntext;
	const char *first = memchr(a->text, '\0', a->ntext), *second = NULL;
	struct ga_str authzid;

	if (first != NULL)
		second = memchr(first + 1, '\0', (size_t)(end - first - 1));
	if (second == NULL || memchr(second + 1, '\0', (size_t)(end - second - 1)) != NULL) {
		malformed(s);
		return;
	}
	authzid = (struct ga_str){ a->text, (size_t)(first - a->text) };
	a->name = (struct ga_str){ first + 1, (size_t)(second - first - 1) };
	a->password = (struct ga_str){ second + 1, (size_t)(end - second - 1) };
	if (authzid.n > 0 && !ga_str_eq(authzid, a->name))
		a->name.n = 0;		/* nobody */
	ask(s);
}

static void
login_response(struct smtpd_session *s)
{
	struct smtpd_auth *a = s->auth;

	if (memchr(a->text, '\0', a->ntext) != NULL) {
		malformed(s);
		return;
	}
	if (!a->asked_password) {
		a->asked_password = true;
		a->name.n = a->ntext;
		challenge(s, GA_STR("334 UGFzc3dvcmQ6\r\n"), false);
		return;
	}
	a->name.p = a->text;
	a->password = (struct ga_str){ a->text + a->name.n, a->ntext - a->name.n };
	ask(s);
}

static void
scram_say(struct smtpd_session *s, struct ga_str text)
{
	char *line = ga_xmalloc(4 + SMTPD_BASE64_CHARS(text.n) + 2);
	size_t n = 4;

	memcpy(line, "334 ", 4);
	n += smtpd_base64_encode((const unsigned char *)text.p, text.n, line + n);
	memcpy(line + n, "\r\n", 2);
	challenge(s, (struct ga_str){ line, n + 2 }, true);
	explicit_bzero(line, n);
	free(line);
}

/* A server-first message may be longer than our replies; then it is not sent whole. */
static bool
fits(struct ga_str text)
{
	return SMTPD_BASE64_CHARS(text.n) <= SMTPD_AUTH_LINE - 8;
}

static void
scram_response(struct smtpd_session *s)
{
	struct smtpd_auth *a = s->auth;
	enum smtpd_scram_state state;
	struct ga_str out;

	if (a->proven) {	/* our last word was heard; the answer to it is empty */
		if (a->ntext > 0)
			malformed(s);
		else
			ask(s);
		return;
	}
	state = smtpd_scram_step(a->scram, (struct ga_str){ a->text, a->ntext }, &out);
	forget_text(a);
	a->user = smtpd_scram_user(a->scram);
	if (state == SMTPD_SCRAM_FAILED) {
		say_later(s);
	} else if (state == SMTPD_SCRAM_REFUSED || !fits(out)) {
		refuse(s);
	} else {
		a->proven = state == SMTPD_SCRAM_PROVEN;
		scram_say(s, out);
	}
}

/* --- lines --- */

/* Appends what the line says to a->text. */
static bool
decode(struct smtpd_auth *a, struct ga_str line)
{
	size_t n = 0, room = a->ntext + SMTPD_BASE64_OCTETS(line.n);
	char *text = ga_xmalloc(room);
	bool ok;

	if (a->ntext > 0)
		memcpy(text, a->text, a->ntext);
	ok = smtpd_base64_decode(line, (unsigned char *)text + a->ntext, &n);
	if (a->text != NULL)
		explicit_bzero(a->text, a->ntext);
	free(a->text);
	a->text = text;
	a->ntext += n;
	return ok;
}

static void
take_response(struct smtpd_session *s, struct ga_str line)
{
	static void (*const response[SMTPD_MECHS])(struct smtpd_session *) = {
		[SMTPD_PLAIN] = plain_response,
		[SMTPD_LOGIN] = login_response,
		[SMTPD_SCRAM_SHA_256] = scram_response,
	};

	s->auth->began_ms = ga_now_ms(s->w->loop);
	if (!decode(s->auth, line)) {
		smtpd_auth_stop(s);
		smtpd_say(s, "501 5.5.2 Cannot decode: not base64");
		return;
	}
	response[s->auth->mech](s);
}

void
smtpd_auth_line(struct smtpd_session *s, struct ga_str line)
{
	char room[SMTPD_SHOWN];

	if (smtpd_asks(s, line))
		smtpd_tell_line(s, GA_IN_CMD, smtpd_line_shown(s, line, false, room), line);
	if (ga_str_eq(line, GA_STR("*"))) {
		smtpd_auth_stop(s);
		smtpd_say(s, "501 5.7.0 Authentication cancelled");
		return;
	}
	take_response(s, line);
}

/* --- the command --- */

/* Why AUTH cannot be now, NULL: it can. */
static const char *
not_now(const struct smtpd_session *s)
{
	const struct smtpd_conf *conf = s->gen->conf;

	if (s->gen->access.users == NULL && !smtpd_asks(s, auth))
		return "454 4.7.0 Cannot authenticate now, try again later\r\n";
	if (!smtpd_guard_allows(s->gen->service->limits.guard, &s->peer,
	    (unsigned)conf->max_auth_failures_per_client, ga_now_ms(s->w->loop)))
		return "454 4.7.0 Too many failed logins from your address, try again later\r\n";
	return NULL;
}

static const char *
not_this(const struct smtpd_session *s, enum smtpd_mech mech)
{
	if (mech == SMTPD_MECHS || (s->gen->access.users != NULL && !has_mech(s, mech)))
		return "504 5.5.4 Mechanism not known\r\n";
	if (needs_tls(s, mech))
		return "538 5.7.11 This mechanism needs TLS\r\n";
	return NULL;
}

static const char *
not_here(const struct smtpd_session *s)
{
	if (!s->gen->access.auth)
		return "502 5.5.1 Command not implemented\r\n";
	if (!s->esmtp || s->helo.n == 0)
		return "503 5.5.1 Say EHLO first\r\n";
	if (s->user.n > 0)
		return "503 5.5.1 You have authenticated already\r\n";
	return s->txn != NULL ? "503 5.5.1 Not in a transaction\r\n" : NULL;
}

static void
begin(struct smtpd_session *s, enum smtpd_mech mech)
{
	s->auth = ga_xcalloc(1, sizeof *s->auth);
	s->auth->s = s;
	s->auth->mech = mech;
	s->auth->name = s->auth->password = (struct ga_str){ "", 0 };
	if (mech == SMTPD_SCRAM_SHA_256 && s->gen->access.users != NULL)
		s->auth->scram = smtpd_scram_new(s->gen->access.users);
}

void
smtpd_cmd_auth(struct smtpd_session *s, struct ga_str arg)
{
	bool no_mech = arg.n == 0;
	enum smtpd_mech mech = mech_of(first_word(&arg));
	const char *why = not_here(s);

	s->auth_tried = true;
	if (why == NULL && no_mech)
		why = "501 5.5.4 Syntax: AUTH mechanism [response]\r\n";
	if (why == NULL)
		why = not_this(s, mech);
	if (why == NULL)
		why = not_now(s);
	if (why != NULL) {
		smtpd_say_str(s, ga_str_c(why));
		return;
	}
	begin(s, mech);
	if (mech == SMTPD_SCRAM_SHA_256 && s->auth->scram == NULL) {
		say_later(s);
	} else if (arg.n > 0) {
		/* "=" is a response of no octets (RFC 4954 4) */
		take_response(s, ga_str_eq(arg, GA_STR("=")) ? GA_STR("") : arg);
	} else {
		challenge(s, mech == SMTPD_LOGIN ? GA_STR("334 VXNlcm5hbWU6\r\n") : GA_STR("334 \r\n"),
		    false);
	}
}

/* --- MAIL --- */

bool
smtpd_auth_lets_mail(struct smtpd_session *s)
{
	if (!s->gen->access.auth_required || s->user.n > 0)
		return true;
	smtpd_say(s, "530 5.7.0 Authentication required");
	return false;
}

/* xtext of a mailbox, or <> */
struct ga_str
smtpd_param_auth(const struct smtpd_session *s, struct smtpd_params *p, struct ga_str value)
{
	struct ga_str mailbox, local, domain;

	if (!s->gen->access.auth)
		return SMTPD_PARAM_UNKNOWN;
	if (ga_str_eq(value, GA_STR("<>")))
		return SMTPD_PARAM_OK;
	if (value.n > 0 && ga_xtext_decode(p->pool, value, &mailbox) &&
	    ga_mail_address(mailbox, p->utf8, &local, &domain) == GA_MAIL_OK)
		return SMTPD_PARAM_OK;
	return SMTPD_PARAM_WRONG;
}

void
smtpd_auth_mark(const struct smtpd_session *s, struct ga_txn *t)
{
	if (s->user.n == 0)
		return;
	ga_attrs_put(&t->attrs, GA_ATTR_AUTH_USER, s->user);
	if (s->user_class.n > 0)
		ga_attrs_put(&t->attrs, GA_ATTR_MAIL_CLASS, s->user_class);
}
