/*
 * bounce.c - the module: tells senders what became of their messages.
 *
 * Provides "bounce"; the queue asks.  A job reads the message back from the spool,
 * finds who wants to be told (RFC 3461 NOTIFY, directives), has the report composed,
 * and hands it to intake like any message; the end of the failed envelopes goes to
 * stable storage in one group with it.  Nobody to be told: the envelopes just end.
 * A report has the null sender, so nothing is ever reported about a report: what
 * fails without a sender is told to double_bounce_address, or logged and dropped.
 *
 * A job belongs to the loop that it was asked on.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <greenarrow/json.h>
#include <greenarrow/service/control.h>
#include <greenarrow/service/delivery.h>
#include <greenarrow/service/intake.h>

#include "bounce.h"

#define WHERE "general,ip_address,relay_server,domain"
#define BOUNCE_DIRECTIVES(X)								\
X(flag, bounce_failure, "yes", "", WHERE,						\
    "tell the sender of failures, unless the message's NOTIFY says otherwise")		\
X(choice, bounce_delay, "requested", "oneof=never|requested|always", WHERE,		\
    "tell the sender once that a message is late: when NOTIFY=DELAY asks for it, or always") \
X(duration, bounce_delay_after, "4h", "min=1s", WHERE,					\
    "age at which a message is late")							\
X(choice, bounce_success, "requested", "oneof=never|requested|always", WHERE,		\
    "tell the sender of a delivery to a host that sends no reports itself")		\
X(size, bounce_message_size, "50KiB", "max=50MiB", WHERE,				\
    "a message of at most this size is returned whole, of a larger one its header")	\
X(string, bounce_virtual_mta, "", "is=virtual_mta", WHERE,				\
    "VirtualMTA that delivers the reports; default: default_virtual_mta")		\
X(string, double_bounce_address, "", "is=any", "general",				\
    "who is told of mail that failed and has no sender; default: it is logged and dropped") \
X(string, default_virtual_mta, "", "is=virtual_mta", "general",				\
    "VirtualMTA of a message that names none or one that does not exist")

GA_CONF_STRUCT(bounce_conf, BOUNCE_DIRECTIVES);
#define GA_CF_SELF_ struct bounce_conf
GA_CONF_SCHEMA(bounce_conf, BOUNCE_DIRECTIVES);
enum { NEVER, REQUESTED, ALWAYS };

#define INLINE_MAX (256u * 1024)	/* bodies up to this are read with their message */
#define HEAD_MAX (1024u * 1024)		/* and so much of a larger one's header at most */

struct job {
	struct ga_spool_read read;
	struct ga_spool_read_body head;
	struct ga_spool_done done;
	struct ga_intake_submit submit;
	struct ga_report *report;
	struct ga_worker *worker;
	struct ga_snapshot *snapshot;
	const struct bounce_conf *conf;		/* of the first one to be told of */
	struct ga_message *message;
	struct ga_txn *txn;
	struct ga_spool_end *ends;
	const struct ga_envelope **told;	/* who is in the report */
	unsigned nends, ntold;
	bool again;				/* read once more, with its body */
	bool damaged;				/* what is to be returned cannot be read */
	TAILQ_ENTRY(job) entry;
};

/* What one loop has in the making. */
struct loop {
	TAILQ_HEAD(, job) jobs;
	const struct ga_spool *spool;
	const struct ga_intake *intake;
	bool started;
};

static struct ga_inst *inst;
static _Atomic uint64_t told_total[GA_REPORT_DELAYED + 1], dropped_total;

static void compose(struct job *);

/* --- the job's life --- */

static struct loop *
loop_of(const struct job *j)
{
	return ga_worker_state(inst, j->worker);
}

static void
job_free(struct job *j)
{
	TAILQ_REMOVE(&loop_of(j)->jobs, j, entry);
	ga_txn_free(j->txn, j->submit.verdict == GA_ACCEPT ? GA_END_DONE : GA_END_ABORTED);
	if (j->message != NULL)
		ga_message_unref(j->message);
	ga_snapshot_unref(j->snapshot);
	free(j->ends);
	free(j->told);
	free(j);
}

static void
answer(struct job *j, int error)
{
	struct ga_report *r = j->report;
	struct ga_worker *w = j->worker;

	job_free(j);
	r->error = error;
	r->cb(w, r);
}

static bool
ends_them(const struct job *j)
{
	return j->report->kind != GA_REPORT_DELAYED;
}

/* --- nobody to be told --- */

static void
all_done(struct ga_worker *w, struct ga_spool_done *done)
{
	answer(done->arg, done->error);
}

/* In order of the calls, so that the last one's answer is that of all. */
static void
end_quietly(struct job *j)
{
	const struct ga_spool *spool = loop_of(j)->spool;

	if (!ends_them(j) || j->nends == 0) {
		answer(j, 0);
		return;
	}
	for (unsigned i = 0; i + 1 < j->nends; i++)
		spool->done(j->worker, &(struct ga_spool_done){ .end = j->ends[i] });
	j->done = (struct ga_spool_done){ .end = j->ends[j->nends - 1], .cb = all_done, .arg = j };
	spool->done(j->worker, &j->done);
}

/* --- who is told --- */

static const struct bounce_conf *
conf_for(const struct job *j, const struct ga_envelope *e)
{
	const struct bounce_conf *general = ga_settings_conf(ga_snapshot_general(j->snapshot), "bounce");
	struct ga_str mta = j->message->virtual_mta.n > 0 ? j->message->virtual_mta :
	    general->default_virtual_mta;

	return ga_settings_conf(ga_snapshot_resolve(j->snapshot, mta, e->domain, NULL, 0), "bounce");
}

static bool
asked(unsigned choice, uint32_t notify, uint32_t bit)
{
	return choice != NEVER && ((notify & bit) != 0 || (choice == ALWAYS && notify == 0));
}

static bool
wanted(const struct job *j, const struct ga_envelope *e, const struct bounce_conf *c)
{
	uint32_t notify = ga_attr_u32(e->attrs, GA_ATTR_NOTIFY, 0);

	switch (j->report->kind) {
	case GA_REPORT_FAILED:
		return c->bounce_failure && (notify == 0 || (notify & GA_NOTIFY_FAILURE) != 0);
	case GA_REPORT_RELAYED:
		return asked(c->bounce_success, notify, GA_NOTIFY_SUCCESS);
	case GA_REPORT_DELAYED:
		break;
	}
	return asked(c->bounce_delay, notify, GA_NOTIFY_DELAY);
}

static const struct ga_envelope *
envelope_of(const struct ga_message *m, uint32_t index)
{
	for (uint32_t i = 0; i < m->nenvelopes; i++)
		if (m->envelopes[i].index == index && (m->envelopes[i].flags & GA_ENV_DONE) == 0)
			return &m->envelopes[i];
	return NULL;
}

static void
take(struct job *j, const struct ga_envelope *e)
{
	const struct bounce_conf *c = conf_for(j, e);
	uint32_t result = j->report->kind == GA_REPORT_RELAYED ? GA_RESULT_SUCCESS :
	    (e->flags & GA_ENV_EXPIRED) != 0 ? GA_RESULT_FAILURE_TOOLONG : GA_RESULT_FAILURE;

	j->ends[j->nends++] = (struct ga_spool_end){ j->message->seq, e->index, result };
	if (!wanted(j, e, c))
		return;
	if (j->ntold == 0)
		j->conf = c;
	j->told[j->ntold++] = e;
}

static void
choose(struct job *j)
{
	const struct ga_report *r = j->report;

	j->ends = ga_xcalloc(r->n, sizeof *j->ends);
	j->told = ga_xcalloc(r->n, sizeof *j->told);
	for (unsigned i = 0; i < r->n; i++) {
		const struct ga_envelope *e = envelope_of(j->message, r->envelopes[i]);

		if (e != NULL)
			take(j, e);
	}
}

/* --- without a sender --- */

static bool
is_recipient(const struct job *j, struct ga_str address)
{
	for (unsigned i = 0; i < j->ntold; i++)
		if (ga_str_caseeq(j->told[i]->recipient, address))
			return true;
	return false;
}

static void
say_dropped(const struct job *j)
{
	struct ga_str to = j->told[0]->recipient, why;

	ga_attr_get(j->told[0]->attrs, GA_ATTR_LAST_REPLY, &why);
	atomic_fetch_add(&dropped_total, 1);
	ga_log(inst, GA_NOTICE, "GA-BNC-0002", "%08x to <%.*s>%s failed and has no sender to be told; dropped: %.*s",
	    j->message->id, (int)to.n, to.p, j->ntold > 1 ? " and others" : "", (int)why.n, why.p);
}

/* Whom it goes to; empty: nobody. */
static struct ga_str
addressee(const struct job *j)
{
	struct ga_str other = j->conf->double_bounce_address;

	if (j->message->sender.n > 0)
		return j->message->sender;
	if (j->report->kind != GA_REPORT_FAILED)
		return (struct ga_str){ "", 0 };
	if (other.n > 0 && !is_recipient(j, other))
		return other;
	say_dropped(j);
	return (struct ga_str){ "", 0 };
}

/* --- the report --- */

static void
submitted(struct ga_worker *w, struct ga_intake_submit *s)
{
	static const char *const what[] = { [GA_REPORT_FAILED] = "failure",
		[GA_REPORT_RELAYED] = "delivery", [GA_REPORT_DELAYED] = "delay" };
	struct job *j = s->arg;
	enum ga_report_kind kind = j->report->kind;

	if (s->verdict != GA_ACCEPT) {
		ga_log(inst, GA_WARN, "GA-BNC-0003", "%08x: the report was not taken: %u %s %s", j->message->id,
		    s->reply.code, s->reply.enhanced, s->reply.text);
		if (s->verdict == GA_REJECT)
			end_quietly(j);
		else
			answer(j, s->reply.code == 452 ? ENOSPC : EAGAIN);
		return;
	}
	atomic_fetch_add(&told_total[kind], 1);
	ga_log(inst, GA_INFO, "GA-BNC-0001", "%08x: %s of %u recipient%s told to <%.*s> in %08x", j->message->id,
	    what[kind], j->ntold, j->ntold == 1 ? "" : "s", (int)j->txn->rcpts[0].to.n, j->txn->rcpts[0].to.p,
	    j->txn->id);
	if (s->discarded)
		end_quietly(j);
	else
		answer(j, 0);
}

/* What reports of a campaign have in common with it. */
static void
put_attrs(struct job *j)
{
	static const unsigned same[] = { GA_ATTR_MAIL_CLASS, GA_ATTR_LIST_ID, GA_ATTR_INSTANCE_ID };
	struct ga_attrs *to = &j->txn->attrs;
	struct ga_str v;

	ga_attrs_put(to, GA_ATTR_CLIENT_FAMILY, GA_STR("local"));
	ga_attrs_put_u64(to, GA_ATTR_BOUNCE_OF, GA_ENVELOPE_ID(j->message, j->told[0]));
	if (j->conf->bounce_virtual_mta.n > 0)
		ga_attrs_put(to, GA_ATTR_VIRTUAL_MTA, j->conf->bounce_virtual_mta);
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
		if (ga_attr_get(j->message->attrs, same[i], &v))
			ga_attrs_put(to, same[i], v);
	if (ga_attr_get(j->message->attrs, GA_ATTR_SEND_ID, &v))
		ga_attrs_put(to, GA_ATTR_SEND_ID, ga_fmt(j->txn->pool, "%.*s-ic", (int)v.n, v.p));
}

static bool
make_txn(struct job *j, struct ga_str to)
{
	char text[256];
	struct ga_str local, domain, clean = { "", 0 };
	struct ga_txn *t;
	struct ga_rcpt *r;

	if (ga_mail_address(to, true, &local, &domain) != GA_MAIL_OK)
		return false;
	ga_mail_domain(domain, text, sizeof text, &clean);
	t = j->txn = ga_txn_new(j->worker, NULL, ga_snapshot_resolve(j->snapshot,
	    j->conf->bounce_virtual_mta, clean, NULL, 0));
	t->id = loop_of(j)->intake->reserve_id(j->worker);
	r = ga_txn_add_rcpt(t);
	r->to = ga_dup(t->pool, to);
	r->domain = ga_dup(t->pool, clean);
	return true;
}

/* Octets of a message that are returned: all of a small one, of others the header. */
static bool
return_whole(const struct job *j)
{
	const struct ga_message *m = j->message;
	struct ga_str ret;

	/* what a report cannot hold, or had to be verified TLS all the way (RFC 8689 5) */
	if (j->report->kind != GA_REPORT_FAILED ||
	    (m->flags & (GA_MSG_BINARYMIME | GA_MSG_REQUIRETLS)) != 0)
		return false;
	if (ga_attr_get(m->attrs, GA_ATTR_RET, &ret) && ga_str_caseeq(ret, GA_STR("HDRS")))
		return false;
	return m->body_size <= j->conf->bounce_message_size;
}

/* Octets of the header that are returned: it has a limit too. */
static uint64_t
returned_header(const struct job *j)
{
	uint64_t n = ga_attr_u32(j->message->attrs, GA_ATTR_HEADER_SIZE, 0);
	uint64_t limit = j->conf->bounce_message_size;

	return n < limit ? n : limit;
}

static void
send_report(struct job *j, const struct ga_body *original)
{
	const struct ga_message *m = j->message;
	struct bnc_letter l = { .kind = j->report->kind, .to = addressee(j),
		.double_bounce = m->sender.n == 0, .hostname = ga_hostname(), .now_ms = ga_wall_ms(),
		.expires_ms = j->report->expires_ms, .message = m, .envelopes = j->told, .n = j->ntold,
		.original = original, .whole = return_whole(j) };

	l.octets = l.whole ? m->body_size : returned_header(j);
	if (l.to.n == 0 || !make_txn(j, l.to)) {
		end_quietly(j);
		return;
	}
	l.message_id = j->txn->id;
	j->txn->body = bnc_compose(&l, &j->txn->header_size, &j->txn->flags);
	put_attrs(j);
	j->submit = (struct ga_intake_submit){ .txn = j->txn, .cb = submitted, .arg = j };
	if (ends_them(j)) {
		j->submit.ends = j->ends;
		j->submit.nends = j->nends;
	}
	loop_of(j)->intake->submit(j->worker, &j->submit);
}

static bool
is_damage(int error)
{
	return error == EBADMSG || error == EIO;
}

static void
head_read(struct ga_worker *w, struct ga_spool_read_body *read)
{
	struct job *j = read->arg;
	struct ga_body *piece = read->piece;

	if (read->error != 0 && !is_damage(read->error)) {
		answer(j, read->error);
		return;
	}
	send_report(j, piece);
	if (piece != NULL)
		ga_body_unref(piece);
}

/* The original is in memory, or its header is read, or it is read again whole. */
static void
compose(struct job *j)
{
	const struct ga_message *m = j->message;
	uint64_t header = returned_header(j) < HEAD_MAX ? returned_header(j) : HEAD_MAX;

	if (j->damaged) {
		send_report(j, NULL);
	} else if (m->body != NULL && m->body->chunks != NULL) {
		send_report(j, m->body);
	} else if (return_whole(j) && !j->again) {
		j->again = true;
		j->read.body_limit = UINT64_MAX;
		loop_of(j)->spool->read(j->worker, &j->read);
	} else if (header > 0) {
		j->head = (struct ga_spool_read_body){ .seq = m->seq, .len = header, .cb = head_read, .arg = j };
		loop_of(j)->spool->read_body(j->worker, &j->head);
	} else {
		send_report(j, NULL);
	}
}

static void
message_read(struct ga_worker *w, struct ga_spool_read *read)
{
	struct job *j = read->arg;

	if (is_damage(read->error) && !j->damaged) {
		/* that it failed can be told all the same */
		j->damaged = true;
		j->read.body_limit = 0;
		loop_of(j)->spool->read(w, &j->read);
		return;
	}
	if (read->error != 0) {
		answer(j, read->error == ENOENT ? 0 : read->error);
		return;
	}
	if (j->message != NULL)
		ga_message_unref(j->message);
	j->message = read->message;
	j->nends = j->ntold = 0;
	free(j->ends);
	free(j->told);
	choose(j);
	if (j->ntold == 0)
		end_quietly(j);
	else
		compose(j);
}

/* --- the service --- */

static void
report(struct ga_worker *w, struct ga_report *r)
{
	struct loop *l = ga_worker_state(inst, w);
	struct job *j = ga_xcalloc(1, sizeof *j);

	j->report = r;
	j->worker = w;
	j->snapshot = ga_snapshot_current();
	TAILQ_INSERT_TAIL(&l->jobs, j, entry);
	j->read = (struct ga_spool_read){ .seq = r->seq, .body_limit = INLINE_MAX, .cb = message_read, .arg = j };
	l->spool->read(w, &j->read);
}

static uint64_t
delay_after(const struct ga_settings *s, bool requested)
{
	const struct bounce_conf *c = ga_settings_conf(s, "bounce");

	return c->bounce_delay == ALWAYS || (c->bounce_delay == REQUESTED && requested) ?
	    c->bounce_delay_after : 0;
}

static bool
success(const struct ga_settings *s)
{
	const struct bounce_conf *c = ga_settings_conf(s, "bounce");

	return c->bounce_success == ALWAYS;
}

static const struct ga_bounce service = { sizeof service, GA_BOUNCE_VERSION, report, delay_after, success };

/* --- the module --- */

static void
add_status(struct ga_inst *self, struct json_object *status)
{
	static const char *const names[] = { [GA_REPORT_FAILED] = "failure_total",
		[GA_REPORT_RELAYED] = "relayed_total", [GA_REPORT_DELAYED] = "delay_total" };
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		ga_json_put_int(o, names[i], told_total[i]);
	ga_json_put_int(o, "dropped_total", dropped_total);
	json_object_object_add(status, "reports", o);
}

static bool
check(const void *conf, struct ga_diag *diag)
{
	const struct bounce_conf *c = conf;
	struct ga_str local, domain;

	if (c->double_bounce_address.n == 0 ||
	    ga_mail_address(c->double_bounce_address, true, &local, &domain) == GA_MAIL_OK)
		return true;
	ga_diag_error(diag, "double_bounce_address", "\"%.*s\" is not an address", (int)c->double_bounce_address.n,
	    c->double_bounce_address.p);
	return false;
}

static bool
init(struct ga_inst *self, const void *conf)
{
	inst = self;
	ga_service_provide(self, GA_BOUNCE_SERVICE, GA_BOUNCE_VERSION, &service);
	ga_status_register(self, add_status);
	return true;
}

static bool
start(struct ga_inst *self, struct ga_worker *w)
{
	struct loop *l = ga_worker_state(self, w);

	TAILQ_INIT(&l->jobs);
	l->spool = ga_service_get(GA_SPOOL_SERVICE, GA_SPOOL_VERSION);
	l->intake = ga_service_get(GA_INTAKE_SERVICE, GA_INTAKE_VERSION);
	l->started = true;
	if (l->spool != NULL && l->intake != NULL)
		return true;
	ga_log(self, GA_ERR, "GA-BNC-0004", "nobody provides the service \"%s\": is its module loaded?",
	    l->spool == NULL ? "spool" : "intake");
	return false;
}

/* All loops have ended: what was in the making is made after the next start. */
static void
fini(struct ga_inst *self)
{
	for (unsigned i = 0; i < ga_worker_count(); i++) {
		struct loop *l = ga_worker_state(self, ga_worker_get(i));

		while (l->started && !TAILQ_EMPTY(&l->jobs))
			job_free(TAILQ_FIRST(&l->jobs));
	}
}

GA_MODULE(bounce, "1.0.0", "", GA_NO_HOOKS, BOUNCE_DIRECTIVES,
	.summary = "tells senders of failures, delays and deliveries",
	.conf = &bounce_conf_schema,
	.flags = GA_KEEP_INSTANCE,
	.worker_size = sizeof(struct loop),
	.check = check,
	.init = init,
	.start = start,
	.fini = fini);
