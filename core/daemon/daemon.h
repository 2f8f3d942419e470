/*
 * daemon.h - what the parts of a daemon share: its options and its state.
 */
#ifndef CORE_DAEMON_DAEMON_H
#define CORE_DAEMON_DAEMON_H

#include <sys/types.h>
#include <time.h>

#include <greenarrow/service/control.h>

#include "module/generation.h"

struct gac_daemon {
	const char *program;		/* "greenarrowd" */
	const char *config_file;	/* absolute once read */
	bool foreground;
	uid_t uid;			/* who we became, or are */
	gid_t gid;
	char *control_socket;
	char *paths[GA_PATH_SERVICE + 1];
	char *hostname;
	uint64_t started_ms;		/* wall clock */
	uint64_t stop_timeout_ms;
	int ready_fd;			/* to the parent that waits; -1 */
	/* last reload */
	uint64_t reload_ms;		/* wall clock, 0: none yet */
	bool reload_ok;
	char reload_message[256];
};
extern struct gac_daemon gac_daemon;

/* main.c: the core's own settings of a snapshot that is or comes in force. */
void gac_daemon_settings(struct ga_snapshot *);

/* options.c: 0 go on, else exit with *code. */
int gac_daemon_options(int argc, char **argv, int *code);
struct gac_daemon_job {			/* what to do instead of serving */
	const char *command;		/* --command NAME: an offline command of a module */
	int argc;
	char **argv;
	bool check;			/* --check: run the modules' checks, print, exit */
};
extern struct gac_daemon_job gac_daemon_job;

/* main.c: greenarrow.conf as it stands on disk, against the manifests of the modules in their
 * files or linked into this program.  NULL: diag says why.  Any thread; blocks. */
struct gac_conf *gac_daemon_read_file(struct ga_diag *);

/* setup.c: directories, limits, privileges, background.  False: said why on stderr. */
bool gac_setup_paths(const struct gac_core_conf *);
/* services: a module works in the service directory. */
bool gac_setup_directories(const struct gac_core_conf *, bool services);
/* The link, unless there is something of its name; what came of it is in the log. */
void gac_setup_link(const char *link, const char *to);
void gac_setup_descriptors(void);
bool gac_setup_user(const struct gac_core_conf *);
bool gac_setup_background(void);
void gac_setup_ready(void);

/* reload.c */
typedef void gac_reload_done_fn(void *arg, bool ok, const char *message);
/* Main loop.  done is called once, later. */
void gac_reload(gac_reload_done_fn *, void *arg);
void gac_reload_commands(void);

/* status.c: the commands that the core itself answers. */
void gac_status_commands(void);

#endif
