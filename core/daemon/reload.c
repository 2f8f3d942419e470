/*
 * reload.c - a new configuration in place of the one in force, or not at all.
 *
 * Main loop, step by step, never blocking it:
 *   validate   greenarrow_config validate in a process of its own; what it prints
 *              is what the asker is told
 *   read       the file is read and checked on a helper thread
 *   prepare    code of new modules opened, check(), instances made or told
 *   start      new instances start on every worker
 *   publish    one pointer is swapped; listeners are opened and closed to match
 *   settle     `reloaded` on every worker; replaced instances drain
 * An error before publish undoes what was prepared: the old configuration stays.
 * One reload at a time; those who ask meanwhile are served after it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "loop/loop.h"
#include "module/helpers.h"
#include "module/log.h"
#include "net/dns.h"
#include "net/listen.h"

#define ASKERS_MAX 32
#define OUTPUT_MAX (64u * 1024)

struct asker {
	gac_reload_done_fn *done;
	void *arg;
};

static struct {
	bool busy;
	struct asker now[ASKERS_MAX], later[ASKERS_MAX];
	unsigned nnow, nlater;
	/* validate */
	pid_t pid;
	int pipe;
	struct ev_io io;
	char *output;
	size_t noutput;
	/* read */
	struct gac_job job;
	struct ga_post post;
	struct gac_conf *conf;
	struct ga_diag *diag;
	/* prepare */
	struct ga_snapshot *next, *before;
	struct json_object *notes;	/* sentences for the asker */
	char *why;			/* of a module that refused */
} r;

static void begin(void);

static void
log_refusal(const char *message)
{
	for (size_t n; *message != '\0'; message += n + (message[n] == '\n')) {
		n = strcspn(message, "\n");
		gac_log(GA_ERR, "core", "GA-RLD-0002", "reload refused, nothing changed: %.*s", (int)n, message);
	}
}

static void
finish(bool ok, const char *message)
{
	struct asker askers[ASKERS_MAX];
	unsigned n = r.nnow;

	gac_daemon.reload_ms = ga_wall_ms();
	gac_daemon.reload_ok = ok;
	snprintf(gac_daemon.reload_message, sizeof gac_daemon.reload_message, "%.*s",
	    (int)strcspn(message, "\n"), message);
	if (ok)
		gac_log(GA_NOTICE, "core", "GA-RLD-0001", "configuration reloaded from %s", gac_daemon.config_file);
	else
		log_refusal(message);
	memcpy(askers, r.now, sizeof askers);
	if (r.diag != NULL)
		gac_diag_free(r.diag);
	r.diag = NULL;
	free(r.output);
	r.output = NULL;
	r.noutput = 0;
	for (unsigned i = 0; i < n; i++)
		askers[i].done(askers[i].arg, ok, message);
	json_object_put(r.notes);
	r.notes = NULL;
	r.busy = false;
	memcpy(r.now, r.later, sizeof r.now);
	r.nnow = r.nlater;
	r.nlater = 0;
	if (r.nnow > 0)
		begin();
}

static void
finish_with_diag(void)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (f != NULL) {
		gac_diag_print(r.diag, f);
		fclose(f);
	}
	finish(false, text != NULL && n > 0 ? text : "the configuration was refused; see the log");
	free(text);
}

/* --- settle --- */

/* Sessions and attempts on the old snapshot keep its instances; those that were
 * replaced are told that nothing new will come to them. */
static void
drain_replaced(struct ga_worker *w)
{
	const struct gac_generation *g = gac_generation_of(r.before);
	uint64_t until = ga_now_ms(w) + gac_daemon.stop_timeout_ms;

	for (unsigned i = 0; i < g->n; i++)
		if (g->insts[i] != g->codes[i]->kept && g->codes[i]->desc.drain != NULL)
			g->codes[i]->desc.drain(g->insts[i], w, until);
}

static void
settle_here(struct ga_worker *w)
{
	struct ga_snapshot *now = ga_snapshot_current();
	const struct gac_generation *g = gac_generation_of(now);

	drain_replaced(w);
	for (unsigned i = 0; i < g->n; i++) {
		const struct ga_module *desc = &g->codes[i]->desc;

		if ((desc->flags & GA_KEEP_INSTANCE) != 0 && !g->fresh[i] && desc->reloaded != NULL)
			desc->reloaded(g->insts[i], w);
	}
	ga_snapshot_unref(now);
}

static void
settled(void)
{
	ga_snapshot_unref(r.before);
	r.before = NULL;
	finish(true, "");
}

/* --- what takes effect only at the next start --- */

static void
note_restart(void *arg, const char *module, const char *field, const char *where)
{
	char text[512];

	(void)arg;
	snprintf(text, sizeof text, "%s: %s takes effect at the next start", where, field);
	gac_log(GA_WARN, module, "GA-RLD-0006", "%s", text);
	json_object_array_add(r.notes, json_object_new_string(text));
}

/* --- publish --- */

static void
publish(void)
{
	char err[256];

	r.before = ga_snapshot_current();
	gac_conf_needs_restart(gac_snapshot_conf(r.before), gac_snapshot_conf(r.next), note_restart, NULL);
	gac_snapshot_publish(r.next);
	gac_daemon_settings(r.next);
	if (!gac_dns_reload(gac_snapshot_core(r.next), err, sizeof err))
		gac_log(GA_ERR, "core", "GA-RLD-0005", "dns_server: %s; the servers before stay", err);
	ga_snapshot_unref(r.next);
	r.next = NULL;
	gac_listen_commit();
	gac_on_each_worker(settle_here, settled);
}

/* --- start --- */

static _Atomic bool start_failed;

static void
start_here(struct ga_worker *w)
{
	const struct gac_generation *g = gac_generation_of(r.next);

	for (unsigned i = 0; i < g->n; i++)
		if (g->fresh[i] && g->codes[i]->desc.start != NULL &&
		    !g->codes[i]->desc.start(g->insts[i], w))
			start_failed = true;
}

static void
stop_here(struct ga_worker *w)
{
	const struct gac_generation *g = gac_generation_of(r.next);

	for (unsigned i = g->n; i-- > 0;)
		if (g->fresh[i] && g->insts[i] != NULL) {
			if (g->codes[i]->desc.stop != NULL)
				g->codes[i]->desc.stop(g->insts[i], w);
			gac_loop_forget(w, g->insts[i]);
		}
}

static void
abandon(void)
{
	gac_listen_rollback();
	gac_generation_abandon(r.next);
	ga_snapshot_unref(r.next);
	r.next = NULL;
	finish(false, r.why != NULL ? r.why : "a module did not start; see the log");
	free(r.why);
	r.why = NULL;
}

static void
started(void)
{
	if (start_failed)
		gac_on_each_worker(stop_here, abandon);
	else
		publish();
}

/* --- prepare --- */

static void
prepare(struct ga_worker *w, struct ga_post *post)
{
	(void)w;
	(void)post;
	if (r.conf == NULL) {
		finish_with_diag();
		return;
	}
	r.next = gac_generation_load(r.conf, r.diag);
	r.conf = NULL;
	if (r.next != NULL)
		gac_generation_check(r.next, r.diag);
	if (gac_diag_errors(r.diag) > 0) {
		ga_snapshot_unref(r.next);
		r.next = NULL;
		finish_with_diag();
		return;
	}
	gac_listen_begin();
	if (!gac_generation_reload(r.next, &r.why)) {
		abandon();
		return;
	}
	start_failed = false;
	gac_on_each_worker(start_here, started);
}

/* --- read --- */

static void
read_file(struct gac_job *job)
{
	(void)job;
	r.conf = gac_daemon_read_file(r.diag);
	r.post.fn = prepare;
	ga_loop_post(ga_worker_main(), &r.post);
}

/* --- validate --- */

static void
validated(int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		char *text = r.output;

		r.output = NULL;
		finish(false, text != NULL ? text : "greenarrow_config validate failed");
		free(text);
		return;
	}
	r.diag = gac_diag_new();
	r.job.run = read_file;
	gac_helpers_run(&r.job);
}

static void
output_came(struct ev_loop *ev, struct ev_io *io, int revents)
{
	char buf[4096];
	ssize_t n = read(r.pipe, buf, sizeof buf);
	int status = 0;

	(void)revents;
	if (n > 0) {
		if (r.noutput + (size_t)n < OUTPUT_MAX) {
			r.output = ga_xrealloc(r.output, r.noutput + (size_t)n + 1);
			memcpy(r.output + r.noutput, buf, (size_t)n);
			r.noutput += (size_t)n;
			r.output[r.noutput] = '\0';
		}
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	ev_io_stop(ev, io);
	close(r.pipe);
	while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
		;
	validated(status);
}

static bool
spawn_validate(int out)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	char *argv[] = { (char *)(uintptr_t)"greenarrow_config", (char *)(uintptr_t)"validate",
	    (char *)(uintptr_t)gac_daemon.config_file, NULL };
	int e;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_adddup2(&actions, out, 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	e = posix_spawn(&r.pid, GA_BINDIR "/greenarrow_config", &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (e != 0)
		gac_log(GA_ERR, "core", "GA-RLD-0004", "%s: %s", GA_BINDIR "/greenarrow_config", strerror(e));
	return e == 0;
}

static void
begin(void)
{
	int fd[2];

	r.busy = true;
	r.notes = json_object_new_array();
	if (pipe2(fd, O_CLOEXEC) != 0) {
		finish(false, strerror(errno));
		return;
	}
	if (!spawn_validate(fd[1])) {
		close(fd[0]);
		close(fd[1]);
		finish(false, "greenarrow_config cannot be run");
		return;
	}
	close(fd[1]);
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
	r.pipe = fd[0];
	ev_io_init(&r.io, output_came, r.pipe, EV_READ);
	ev_io_start(gac_loop_ev(ga_worker_main()), &r.io);
}

void
gac_reload(gac_reload_done_fn *done, void *arg)
{
	struct asker a = { done, arg };

	if (r.busy ? r.nlater == ASKERS_MAX : r.nnow == ASKERS_MAX) {
		done(arg, false, "too many reloads at once");
		return;
	}
	if (r.busy) {
		r.later[r.nlater++] = a;
		return;
	}
	r.now[0] = a;
	r.nnow = 1;
	begin();
}

/* --- the command --- */

static void
answer(void *arg, bool ok, const char *message)
{
	struct ga_control_call *call = arg;
	struct ga_snapshot *now;
	struct json_object *o;

	if (!ok) {
		ga_control_error(call, "refused", "%s", message);
		return;
	}
	o = json_object_new_object();
	now = ga_snapshot_current();
	json_object_object_add(o, "generation", json_object_new_int64((int64_t)ga_snapshot_number(now)));
	ga_snapshot_unref(now);
	json_object_object_add(o, "notes", json_object_get(r.notes));
	ga_control_reply(call, o);
}

static void
reload_command(struct ga_control_call *call, struct json_object *args, void *arg)
{
	(void)args;
	(void)arg;
	gac_reload(answer, call);
}

void
gac_reload_commands(void)
{
	ga_control_register(NULL, "reload", "read the configuration again", reload_command, NULL);
}
