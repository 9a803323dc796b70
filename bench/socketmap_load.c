/* A socketmap client that measures: each connection sends one question, waits for its answer, sends the next, as
   Postfix does. One thread, epoll; 127.0.0.1 or a unix socket.

   socketmap_load ADDRESS MAP KEYS CONNECTIONS QUESTIONS SECONDS

   ADDRESS is 127.0.0.1:port or /path. KEYS has a key a line, asked in turn. Ends after QUESTIONS (0: each key once) or
   SECONDS. Prints one JSON object; times in microseconds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REPLY = 128 * 1024, MAX_LINE = 1024, LATE_SECONDS = 15 };

typedef struct {
    int fd;
    size_t filled;
    double asked_at;
    char reply[MAX_REPLY];
} Connection;

static char **questions;
static long question_count, asked, answered, to_ask;
static long oks, not_founds, others, lost;
static float *waits;
static double deadline;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void read_questions(const char *map, const char *path) {
    char line[MAX_LINE], payload[2 * MAX_LINE];
    size_t room = 1024;
    FILE *file = fopen(path, "r");
    if (file == NULL) fail(path);
    questions = malloc(room * sizeof *questions);
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = 0;
        if ((size_t)question_count == room) questions = realloc(questions, (room *= 2) * sizeof *questions);
        int length = snprintf(payload, sizeof payload, "%s %s", map, line);
        if (asprintf(&questions[question_count++], "%d:%s,", length, payload) < 0) fail("memory");
    }
    fclose(file);
    if (question_count == 0) exit(2);
}

static int open_connection(const char *address) {
    int fd;
    if (address[0] == '/') {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        strncpy(to.sun_path, address, sizeof to.sun_path - 1);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
    } else {
        const char *colon = strrchr(address, ':');
        int on = 1;
        if (colon == NULL || strncmp(address, "127.", 4) != 0) exit(2);
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(colon + 1))};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    return fd;
}

static void ask(Connection *connection) {
    if (asked >= to_ask || now() > deadline) return;
    const char *question = questions[asked++ % question_count];
    size_t length = strlen(question);
    connection->filled = 0;
    connection->asked_at = now();
    if (write(connection->fd, question, length) != (ssize_t)length) fail("write");
}

/* Whether the whole netstring is there; counts it by how it begins. */
static int take_reply(const Connection *connection) {
    size_t length = 0, at = 0;
    while (at < connection->filled && connection->reply[at] != ':')
        length = length * 10 + (size_t)(connection->reply[at++] - '0');
    if (connection->filled < at + length + 2) return 0;
    const char *text = connection->reply + at + 1;
    if (length >= 3 && memcmp(text, "OK ", 3) == 0) oks++;
    else if (length >= 8 && memcmp(text, "NOTFOUND", 8) == 0) not_founds++;
    else others++;
    return 1;
}

static void on_readable(Connection *connection) {
    char *end = connection->reply + connection->filled;
    ssize_t count = read(connection->fd, end, MAX_REPLY - connection->filled);
    if (count <= 0) {
        lost++;
        close(connection->fd);
        return;
    }
    connection->filled += (size_t)count;
    if (!take_reply(connection)) return;
    waits[answered++] = (float)((now() - connection->asked_at) * 1e6);
    ask(connection);
}

static int by_size(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static double quantile(double share) {
    return answered ? waits[(long)((double)(answered - 1) * share)] : 0;
}

int main(int count, char **words) {
    if (count != 7) return 2;
    int connections = atoi(words[4]), poll = epoll_create1(0);
    read_questions(words[2], words[3]);
    to_ask = atol(words[5]) ? atol(words[5]) : question_count;
    waits = malloc((size_t)to_ask * sizeof *waits);
    Connection *all = calloc((size_t)connections, sizeof *all);
    for (int i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = open_connection(words[1]);
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    double started = now();
    deadline = started + atof(words[6]);
    for (int i = 0; i < connections; i++) ask(&all[i]);
    struct epoll_event events[256];
    while (answered + lost < asked && now() < deadline + LATE_SECONDS) {
        int ready = epoll_wait(poll, events, 256, 1000);
        for (int i = 0; i < ready; i++) on_readable(events[i].data.ptr);
    }
    double seconds = now() - started;
    qsort(waits, (size_t)answered, sizeof *waits, by_size);
    printf("{\"per_second\": %.1f, \"p50\": %.1f, \"p99\": %.1f, \"longest\": %.1f, \"ok\": %ld, \"not_found\": %ld, "
           "\"other\": %ld, \"lost\": %ld}\n",
           (double)answered / seconds, quantile(.5), quantile(.99), quantile(1), oks, not_founds, others, lost);
    return 0;
}
