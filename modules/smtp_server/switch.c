/*
 * switch.c - one smtp_service put down, brought up or restarted: see switch.h.
 *
 * Called through the service "smtp_services" from any loop; works on the main loop, where
 * listeners are.  To restart a service, or to bring it up, is to make a generation of
 * the snapshot in force and of its files as they are now, on a helper thread, and to put it
 * in the place of the one before: sessions hold theirs, as over a reload.
 *
 * While a reload declares listeners, or has swapped the snapshot since the files were read, the
 * action begins anew RETRY_MS later.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <greenarrow/service/smtp_services.h>

#include "switch.h"

#define RETRY_MS 20

struct act {
	LIST_ENTRY(act) link;
	struct ga_smtp_service_change *change;
	struct smtpd_service *service;
	struct ga_work work;
	struct ga_snapshot *snapshot;	/* that gen is made of; NULL: nothing is read now */
	struct smtpd_gen *gen;
	struct ga_timer *retry;
	struct ga_hold *hold;		/* a stop waits for the helper thread */
	char err[256];
};

static struct {
	struct ga_inst *inst;
	struct smtpd_service **list;
	ga_accept_fn *accepted, *accepted_tls;
	LIST_HEAD(, act) acts;
	/* who is told of changes */
	void (*changed)(void *arg);
	void *arg;
	struct ga_post post;
	atomic_bool posted;
} sw;

/* --- what there is --- */

static enum ga_smtp_service_state
state_of(struct smtpd_service *s)
{
	struct smtpd_gen *g = smtpd_gen_get(s);
	enum ga_smtp_service_state state = GA_SMTP_SERVICE_DISABLED;

	if (g == NULL || s->down)
		state = GA_SMTP_SERVICE_DOWN;
	else if (g->access.listeners.plain.n + g->access.listeners.tls.n > 0)
		state = GA_SMTP_SERVICE_UP;
	if (g != NULL)
		smtpd_gen_unref(g);
	return state;
}

const char *
smtpd_switch_word(struct smtpd_service *s)
{
	static const char *const words[] = { [GA_SMTP_SERVICE_UP] = "up", [GA_SMTP_SERVICE_DOWN] = "down",
		[GA_SMTP_SERVICE_DISABLED] = "disabled" };

	return words[state_of(s)];
}

/* NULL: no such service in the configuration in force. */
static struct smtpd_service *
find(const char *name)
{
	for (struct smtpd_service *s = *sw.list; s != NULL; s = s->next)
		if (strcmp(s->name, name) == 0)
			return smtpd_service_in_force(s) ? s : NULL;
	return NULL;
}

static enum ga_smtp_service_state
state(const char *name)
{
	struct smtpd_service *s = find(name);

	return s != NULL ? state_of(s) : GA_SMTP_SERVICE_DOWN;
}

static void
names(void (*each)(const char *name, void *arg), void *arg)
{
	for (struct smtpd_service *s = *sw.list; s != NULL; s = s->next)
		if (smtpd_service_in_force(s))
			each(s->name, arg);
}

/* --- an action --- */

static void proceed(struct act *);

static void
let_go(struct act *a)
{
	if (a->gen != NULL)
		smtpd_gen_unref(a->gen);
	a->gen = NULL;
	if (a->snapshot != NULL)
		ga_snapshot_unref(a->snapshot);
	a->snapshot = NULL;
}

static void
finish(struct act *a, const char *why)
{
	let_go(a);
	LIST_REMOVE(a, link);
	ga_timer_free(a->retry);
	ga_unhold(a->hold);
	a->change->done(a->change, why);
	free(a);
}

static void
again(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	proceed(arg);
}

static void
later(struct act *a)
{
	let_go(a);
	if (a->retry == NULL)
		a->retry = ga_timer_new(sw.inst, ga_worker_main(), again, a);
	ga_timer_arm(a->retry, RETRY_MS, 0);
}

/* What ga_listen_group() said; done already when it was 0. */
static void
refused(struct act *a, int code)
{
	if (code == -EBUSY) {
		later(a);
		return;
	}
	if (code == -ESHUTDOWN) {
		finish(a, "the daemon is stopping");
		return;
	}
	ga_log(sw.inst, GA_ERR, "GA-SMTPD-0004", "smtp_service %s: %s", a->service->name, a->err);
	finish(a, a->err);
}

static void
put_down(struct act *a)
{
	int code = ga_listen_group(sw.inst, a->service, NULL, 0, a->err, sizeof a->err);

	if (code != 0) {
		refused(a, code);
		return;
	}
	a->service->down = true;
	finish(a, NULL);
}

static size_t
put_addresses(struct ga_listen_on *on, const struct ga_strlist *list, ga_accept_fn *accepted)
{
	for (size_t i = 0; i < list->n; i++)
		on[i] = (struct ga_listen_on){ list->v[i], accepted };
	return list->n;
}

static int
listen_as(struct act *a, const struct smtpd_listeners *l)
{
	struct ga_listen_on *on = ga_xcalloc(l->plain.n + l->tls.n + 1, sizeof *on);
	size_t n = put_addresses(on, &l->plain, sw.accepted);
	int code;

	n += put_addresses(on + n, &l->tls, sw.accepted_tls);
	code = ga_listen_group(sw.inst, a->service, on, n, a->err, sizeof a->err);
	free(on);
	return code;
}

static bool
is_in_force(const struct ga_snapshot *snapshot)
{
	struct ga_snapshot *now = ga_snapshot_current();
	bool same = now == snapshot;

	ga_snapshot_unref(now);
	return same;
}

static void
have_read(struct ga_worker *w, struct ga_work *work)
{
	struct act *a = GA_CONTAINER(work, struct act, work);
	int code;

	if (!is_in_force(a->snapshot)) {
		later(a);
		return;
	}
	if (a->gen == NULL) {
		finish(a, "its settings are not good");
		return;
	}
	code = listen_as(a, &a->gen->access.listeners);
	if (code != 0) {
		refused(a, code);
		return;
	}
	smtpd_gen_install(a->gen);
	a->gen = NULL;
	a->service->down = false;
	finish(a, NULL);
}

/* Helper thread. */
static void
read_files(struct ga_work *work)
{
	struct act *a = GA_CONTAINER(work, struct act, work);
	const struct ga_object *block = ga_object_first(a->snapshot, NULL, "smtp_service");

	while (block != NULL && !ga_str_caseeq(ga_object_name(block), ga_str_c(a->service->name)))
		block = ga_object_next(block);
	if (block != NULL)
		a->gen = smtpd_gen_make(a->service, a->snapshot, block);
}

static void
proceed(struct act *a)
{
	enum ga_smtp_service_action action = a->change->action;

	a->service = find(a->change->name);
	if (a->service == NULL) {
		finish(a, "there is no such smtp_service");
	} else if (a->service->down == (action != GA_SMTP_SERVICE_TO_UP)) {
		finish(a, NULL);
	} else if (action == GA_SMTP_SERVICE_TO_DOWN) {
		put_down(a);
	} else {
		a->snapshot = ga_snapshot_current();
		a->work.run = read_files;
		a->work.done = have_read;
		ga_work(ga_worker_main(), &a->work);
	}
}

static void
begin(struct ga_worker *w, struct ga_post *post)
{
	struct act *a = ga_xcalloc(1, sizeof *a);

	a->change = GA_CONTAINER(post, struct ga_smtp_service_change, post);
	a->hold = ga_hold(sw.inst, "a change of an smtp_service");
	LIST_INSERT_HEAD(&sw.acts, a, link);
	proceed(a);
}

static void
change(struct ga_smtp_service_change *c)
{
	c->post.fn = begin;
	ga_loop_post(ga_worker_main(), &c->post);
}

/* --- who watches --- */

static void
tell(struct ga_worker *w, struct ga_post *post)
{
	atomic_store(&sw.posted, false);
	if (sw.changed != NULL)
		sw.changed(sw.arg);
}

void
smtpd_switch_changed(void)
{
	if (atomic_exchange(&sw.posted, true))
		return;
	sw.post.fn = tell;
	ga_loop_post(ga_worker_main(), &sw.post);
}

static void
watch(void (*changed)(void *arg), void *arg)
{
	sw.changed = changed;
	sw.arg = arg;
}

/* --- life --- */

static const struct ga_smtp_services services = {
	sizeof services, GA_SMTP_SERVICES_VERSION, names, state, change, watch,
};

void
smtpd_switch_init(struct ga_inst *inst, struct smtpd_service **list, ga_accept_fn *accepted,
    ga_accept_fn *accepted_tls)
{
	sw.inst = inst;
	sw.list = list;
	sw.accepted = accepted;
	sw.accepted_tls = accepted_tls;
	LIST_INIT(&sw.acts);
	ga_service_provide(inst, GA_SMTP_SERVICES_SERVICE, GA_SMTP_SERVICES_VERSION, &services);
}

/* Of a stop that waited for them no longer. */
void
smtpd_switch_fini(void)
{
	struct act *a;

	while ((a = LIST_FIRST(&sw.acts)) != NULL) {
		LIST_REMOVE(a, link);
		let_go(a);
		ga_unhold(a->hold);
		free(a);
	}
}
