/*
 * supervised.h - what svc and svstat share: directories that supervise, or our daemon, serves.
 */
#ifndef CLI_SUPERVISED_H
#define CLI_SUPERVISED_H

/* An errno in the words of djb's programs, which scripts may look for; others as strerror has them. */
const char *cli_djb_error(int e);

/* Handles --help and --version, in place of which daemontools have nothing; returns the index of the first
 * operand.  letters: the options as for getopt(), NULL for none; taken() is called for each. */
int cli_supervised_options(int argc, char **argv, const char *letters, const char *usage, void (*taken)(char));

/* As daemontools do: each directory is entered, looked at, and left again.  Ends the process with 111 when
 * there is no way back. */
void cli_each_directory(const char *program, char **dirs, void (*entered)(const char *dir),
    void (*not_entered)(const char *dir, int e));

#endif
