/*
 * main.c - the life of a daemon, from argv to exit code.
 *
 * start   options, configuration (all errors in one run), modules' code, checks;
 *         then, only if all is well: directories, background, user, loops,
 *         control socket, instances, workers, listeners, "ready"
 * serve   the main loop: signals, control socket, acceptors
 * stop    SIGTERM or SIGINT: listeners close, every instance drains on every
 *         worker; when nothing holds any more they are stopped, last loaded
 *         first, and the process ends with 0.  After stop_timeout what waits for
 *         a module or DNS is answered "no" and has GRACE_S to be put back
 *
 * A failure at start is one line on stderr and exit code 1; nothing was changed.
 */
#include "config.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "base/version.h"
#include "conf/manifest.h"
#include "control/server.h"
#include "daemon/daemon.h"
#include "daemon/main.h"
#include "loop/loop.h"
#include "loop/watchdog.h"
#include "module/helpers.h"
#include "module/loader.h"
#include "module/log.h"
#include "module/wait.h"
#include "net/dns.h"
#include "net/listen.h"
#include "net/tls.h"

#define CHECK_LIMIT_S 5		/* all modules' check() together, under --check */
#define GRACE_S 2.0		/* to put back what stop_timeout ended */

struct gac_daemon gac_daemon = { .ready_fd = -1 };

static struct {
	struct ga_snapshot *snapshot;	/* at start, until it is published */
	struct ev_signal term, intr, hup;
	struct ev_timer deadline;
	bool stopping;
	sem_t started;
	_Atomic bool start_failed;
	bool workers;			/* their threads run */
} m;

/* --- what modules may ask --- */

const char *
ga_path(enum ga_path which)
{
	return gac_daemon.paths[which] != NULL ? gac_daemon.paths[which] : "";
}

const char *
ga_hostname(void)
{
	return gac_daemon.hostname != NULL ? gac_daemon.hostname : "localhost";
}

const char *
ga_version(void)
{
	return gac_version();
}

/* --- configuration --- */

static bool
print_diag(struct ga_diag *diag)
{
	bool good = gac_diag_errors(diag) == 0;

	gac_diag_print(diag, stderr);
	gac_diag_free(diag);
	return good;
}

static bool
absolute_config_file(void)
{
	char *full = realpath(gac_daemon.config_file, NULL);

	if (full == NULL) {
		fprintf(stderr, "%s: %s: %s\n", gac_daemon.program, gac_daemon.config_file, strerror(errno));
		return false;
	}
	gac_daemon.config_file = full;
	return true;
}

struct gac_conf *
gac_daemon_read_file(struct ga_diag *diag)
{
	struct gac_conf_options options = { .file = gac_daemon.config_file };
	struct ga_pool *pool = ga_pool_new(0);
	struct gac_conf *conf;

	options.nbuiltin = gac_manifest_list(pool, "/proc/self/exe", &options.builtin);
	conf = gac_conf_load(&options, diag);
	ga_pool_free(pool);
	return conf;
}

static bool
load_configuration(void)
{
	struct ga_diag *diag = gac_diag_new();
	struct gac_conf *conf = gac_daemon_read_file(diag);

	if (conf != NULL)
		m.snapshot = gac_generation_load(conf, diag);
	if (m.snapshot != NULL && gac_daemon_job.check) {
		/* greenarrow_config has said what the file alone gives reason to say */
		gac_diag_free(diag);
		diag = gac_diag_new();
		alarm(CHECK_LIMIT_S);
	}
	if (m.snapshot != NULL)
		gac_generation_check(m.snapshot, diag);
	return print_diag(diag) && m.snapshot != NULL;
}

void
gac_daemon_settings(struct ga_snapshot *snapshot)
{
	const struct gac_core_conf *core = gac_snapshot_core(snapshot);

	if (gac_daemon.hostname == NULL)
		gac_daemon.hostname = strndup(core->hostname.p, core->hostname.n);
	gac_daemon.stop_timeout_ms = core->stop_timeout;
	gac_log_level((enum ga_level)core->log_level);
	gac_waits_limit((unsigned)core->max_waits);
}

/* --- an offline command of a module --- */

static const struct ga_command *
find_command(const struct gac_generation *g, const char *name, unsigned *owner)
{
	for (*owner = 0; *owner < g->n; ++*owner)
		for (const struct ga_command *c = g->codes[*owner]->desc.commands;
		    c != NULL && c->name != NULL; c++)
			if (strcmp(c->name, name) == 0)
				return c;
	return NULL;
}

static int
run_command(void)
{
	const struct gac_core_conf *core = gac_snapshot_core(m.snapshot);
	struct gac_generation *g = gac_generation_of(m.snapshot);
	const struct ga_command *command;
	struct ga_inst *inst;
	unsigned owner;
	int code;

	command = find_command(g, gac_daemon_job.command, &owner);
	if (command == NULL) {
		fprintf(stderr, "%s: no loaded module has a command `%s`\n", gac_daemon.program,
		    gac_daemon_job.command);
		return 2;
	}
	if (!gac_setup_paths(core))
		return 1;
	gac_loops_init(1);
	inst = gac_inst_new(g->codes[owner], ga_settings_conf(ga_snapshot_general(m.snapshot),
	    g->codes[owner]->desc.head.name));
	gac_snapshot_coming(m.snapshot);
	/* argv[0] is the command, as for a program */
	gac_daemon_job.argv[-1] = (char *)(uintptr_t)command->name;
	code = command->run(inst, gac_daemon_job.argc + 1, gac_daemon_job.argv - 1);
	gac_snapshot_coming(NULL);
	gac_inst_free(inst);
	gac_generation_end(m.snapshot);
	return code;
}

/* --- stop --- */

static void
stop_here(struct ga_worker *w)
{
	struct ga_snapshot *now = ga_snapshot_current();
	const struct gac_generation *g = gac_generation_of(now);

	for (unsigned i = g->n; i-- > 0;)
		if (g->codes[i]->desc.stop != NULL)
			g->codes[i]->desc.stop(g->insts[i], w);
	/* after all: who stops cancels its hooks, whose timers are those of other modules */
	for (unsigned i = g->n; i-- > 0;)
		gac_loop_forget(w, g->insts[i]);
	ga_snapshot_unref(now);
}

static void
end_serving(void)
{
	gac_main_break();
}

static void
give_up_here(struct ga_worker *w)
{
	gac_waits_give_up(w);
	gac_dns_give_up(w);
}

/* A module that does not give up what it holds does not keep the daemon. */
static void
grace_passed(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	(void)ev;
	(void)timer;
	(void)revents;
	end_serving();
}

/* What modules and DNS have not answered gets an answer, so that whoever waits for it
 * can put the mail back; the loops go on until nobody holds the stop, or for GRACE_S. */
static void
deadline_passed(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	(void)revents;
	gac_log(GA_WARN, "core", "GA-STOP-0002", "stop_timeout has passed: what is left is handed back");
	ev_timer_stop(ev, timer);
	ev_timer_init(timer, grace_passed, GRACE_S, 0);
	ev_timer_start(ev, timer);
	gac_on_each_worker(give_up_here, NULL);
}

static void
drain_here(struct ga_worker *w)
{
	struct ga_snapshot *now = ga_snapshot_current();
	const struct gac_generation *g = gac_generation_of(now);
	uint64_t until = ga_now_ms(w) + gac_daemon.stop_timeout_ms;

	for (unsigned i = 0; i < g->n; i++)
		if (g->codes[i]->desc.drain != NULL)
			g->codes[i]->desc.drain(g->insts[i], w, until);
	ga_snapshot_unref(now);
}

static void
drained(void)
{
	gac_holds_empty(end_serving);
	if (gac_holds(NULL, NULL, NULL) == 0)
		end_serving();
}

static void
begin_stop(struct ev_loop *ev, struct ev_signal *sig, int revents)
{
	(void)revents;
	if (m.stopping)
		return;
	m.stopping = true;
	gac_log(GA_NOTICE, "core", "GA-STOP-0001", "stopping on signal %d", sig->signum);
#ifdef HAVE_LIBSYSTEMD
	sd_notify(0, "STOPPING=1");
#endif
	gac_listen_close_all();
	ev_timer_init(&m.deadline, deadline_passed, (double)gac_daemon.stop_timeout_ms / 1000.0, 0);
	ev_timer_start(ev, &m.deadline);
	gac_on_each_worker(drain_here, drained);
}

/* --- serve --- */

/* What came of it is in the log. */
static void
hup_done(void *arg, bool ok, const char *message)
{
	(void)arg;
	(void)ok;
	(void)message;
}

static void
reload_on_hup(struct ev_loop *ev, struct ev_signal *sig, int revents)
{
	(void)ev;
	(void)sig;
	(void)revents;
	gac_reload(hup_done, NULL);
}

static void
watch_signals(void)
{
	struct ev_loop *ev = gac_loop_ev(ga_worker_main());

	signal(SIGPIPE, SIG_IGN);
	ev_signal_init(&m.term, begin_stop, SIGTERM);
	ev_signal_init(&m.intr, begin_stop, SIGINT);
	ev_signal_init(&m.hup, reload_on_hup, SIGHUP);
	ev_signal_start(ev, &m.term);
	ev_signal_start(ev, &m.intr);
	ev_signal_start(ev, &m.hup);
}

/* --- start --- */

static void
start_here(struct ga_worker *w)
{
	const struct gac_generation *g = gac_generation_of(m.snapshot);

	for (unsigned i = 0; i < g->n && !m.start_failed; i++)
		if (g->codes[i]->desc.start != NULL && !g->codes[i]->desc.start(g->insts[i], w)) {
			gac_log(GA_ERR, g->codes[i]->desc.head.name, "GA-MOD-0003",
			    "the module did not start on loop %u", ga_worker_index(w));
			m.start_failed = true;
		}
	sem_post(&m.started);
}

static bool
start_workers(void)
{
	sem_init(&m.started, 0, 0);
	m.workers = true;
	gac_loops_start(start_here);
	for (unsigned i = 0; i < ga_worker_count(); i++)
		while (sem_wait(&m.started) != 0)
			;
	return !m.start_failed;
}

static void
write_pid_file(bool write_it)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s.pid", ga_path(GA_PATH_RUN), gac_daemon.program);
	if (!write_it) {
		unlink(path);
		return;
	}
	f = fopen(path, "we");
	if (f != NULL) {
		fprintf(f, "%d\n", (int)getpid());
		fclose(f);
	}
}

static bool
bring_up(const struct gac_core_conf *core)
{
	char err[512];

	gac_loops_init(gac_core_workers(core));
	gac_waits_init();
	if (!gac_control_start(gac_daemon.control_socket, gac_daemon.gid, err, sizeof err)) {
		fprintf(stderr, "%s: %s\n", gac_daemon.program, err);
		return false;
	}
	gac_status_commands();
	gac_reload_commands();
	if (!gac_dns_init(core, err, sizeof err)) {
		fprintf(stderr, "%s: %s\n", gac_daemon.program, err);
		return false;
	}
	gac_tls_init();
	if (core->tls_trust_file.n > 0 && !gac_tls_trust(core->tls_trust_file.p, err, sizeof err)) {
		fprintf(stderr, "%s: %s\n", gac_daemon.program, err);
		return false;
	}
	gac_listen_begin();
	if (!gac_generation_init(m.snapshot))
		return false;
	gac_snapshot_publish(m.snapshot);
	gac_dns_start();
	if (!start_workers())
		return false;
	gac_listen_commit();
	ga_snapshot_unref(m.snapshot);	/* from here on the published one counts */
	m.snapshot = NULL;
	return true;
}

/* Whatever came up goes, last first; also after a start that failed half-way. */
static void
take_down(bool serving)
{
	gac_listen_close_all();
	if (m.workers)
		gac_loops_stop(serving ? stop_here : NULL);
	gac_dns_stop();
	gac_helpers_stop();
	gac_control_stop();
	if (serving)
		write_pid_file(false);
	gac_generation_end(m.snapshot);
	gac_log_stop();
}

static void
free_all(void)
{
	gac_snapshot_publish(NULL);
	ga_snapshot_unref(m.snapshot);
	gac_waits_free();
	gac_loops_free();
	gac_loader_free();
	for (int i = 0; i <= GA_PATH_SERVICE; i++)
		free(gac_daemon.paths[i]);
	free(gac_daemon.control_socket);
	free(gac_daemon.hostname);
	free((void *)(uintptr_t)gac_daemon.config_file);
}

/* Has a loaded module that flag? */
static bool
flagged(enum ga_module_flag flag)
{
	const struct gac_generation *g = gac_generation_of(m.snapshot);

	for (unsigned i = 0; i < g->n; i++)
		if ((g->codes[i]->desc.flags & flag) != 0)
			return true;
	return false;
}

static int
serve(const struct gac_core_conf *core)
{
	bool good;

	if (!gac_setup_directories(core, flagged(GA_SERVICE_DIRECTORY)))
		return 1;
	gac_setup_descriptors();
	if (!gac_setup_background() || !gac_setup_user(core))
		return 1;
	gac_log_to(STDERR_FILENO, getenv("JOURNAL_STREAM") != NULL);
	gac_daemon.started_ms = ga_wall_ms();
	good = bring_up(core);
	if (good) {
		write_pid_file(true);
		watch_signals();
		gac_watchdog_start();
		gac_log(GA_NOTICE, "core", "GA-CORE-0001", "greenarrowd %s is ready: %u loops, %s",
		    gac_version(), ga_worker_count(), gac_daemon.config_file);
		gac_setup_ready();
		gac_log_start(gac_daemon.foreground);
		gac_main_run();
		gac_log(GA_NOTICE, "core", "GA-STOP-0003", "stopped");
	}
	take_down(good);
	return good ? 0 : 1;
}

int
gac_main(const char *program, int argc, char **argv)
{
	char err[256];
	int code = 0;

	gac_daemon.program = program;
	if (gac_daemon_options(argc, argv, &code) != 0)
		return code;
	if (!gac_loader_init(err, sizeof err)) {
		fprintf(stderr, "%s: %s\n", program, err);
		return 1;
	}
	if (!absolute_config_file() || !load_configuration())
		return 1;
	if (gac_daemon_job.check)
		return 0;
	gac_daemon_settings(m.snapshot);
	if (gac_daemon_job.command != NULL)
		code = run_command();
	else
		code = serve(gac_snapshot_core(m.snapshot));
	free_all();
	return code;
}
