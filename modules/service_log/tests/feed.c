/*
 * feed.c - what multilog is to a pipe: lines of stdin into a log directory, for tests beside multilog.
 *
 *	feed FOLDER NAME "s4096 n5" [stamped]
 *
 * FOLDER is log_directory.  At the end of stdin it waits until all lines are written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../service_log.h"
#include "daemon/daemon.h"

int
main(int argc, char **argv)
{
	struct slog_limits_table none = { NULL, 0 };
	struct slog_limits limits;
	struct ga_log_dir *d;
	struct ga_str bad;
	char *line = NULL;
	size_t room = 0;
	uint64_t lines = 0;
	ssize_t n;

	if (argc < 4 || slog_limits_words(ga_str_c(argv[3]), &limits, &bad) != NULL)
		return 2;
	gac_daemon.paths[GA_PATH_LOG] = argv[1];
	slog_dirs_limit(limits, &none, SIZE_MAX);
	if (!slog_writer_start(NULL, 50))
		return 1;
	d = slog_dir_open(ga_str_c(argv[2]), argc > 4 ? 0 : GA_LOG_UNSTAMPED, NULL);
	while (d != NULL && (n = getline(&line, &room, stdin)) > 0) {
		slog_dir_write(d, &(struct ga_str){ line, (size_t)n - (line[n - 1] == '\n') }, 1);
		lines++;
	}
	free(line);
	while (d != NULL && atomic_load(&d->lines) < lines)
		usleep(1000);
	if (!slog_writer_stop())
		return 1;
	slog_dirs_free();
	return d == NULL;
}
