# Connects to a Unix socket as each of the given users, sends bytes, and prints the beginning of the answer.
# Arguments: path of the socket, bytes to send, the answer to an admitted user, bytes to send after that answer,
# seconds for all users together, names of the users. Bytes are hexadecimal.
# Prints a line for each user: the name and the answer, cut to the length of the wanted answer. The answer is `-`
# without a connection, and `!` without a whole answer in time. The answer `?` means that this process cannot become
# the user.
#
# A server sees the effective user of a process at its connection (unix(7), SO_PEERCRED). One process can therefore
# connect as several users. A program for each user, such as nix-store or psql, takes ten times as long to start.
#
# A server logs a fault when a client closes a connection with unread bytes or within a greeting (measured). The bytes
# after the answer therefore end the conversation. This process then reads until the server closes the connection.
use strict;
use warnings;
use Socket;

my ($path, $request, $wanted, $farewell, $seconds, @users) = @ARGV;
my $end = time + $seconds;

# Returns the groups of a user, the primary group first, in the format of `$)`.
sub groups_of {
    my ($user, $main) = @_;
    my @groups = ($main, $main);
    while (my (undef, undef, $number, $members) = getgrent) {
        push @groups, $number if grep { $_ eq $user } split / /, $members;
    }
    endgrent;
    return join ' ', @groups;
}

# Reads at most as many bytes as the wanted answer has.
sub beginning {
    my ($socket) = @_;
    my $length = length($wanted) / 2;
    my $read = '';
    while (length $read < $length) {
        my $more = sysread $socket, $read, $length - length $read, length $read;
        last unless $more;
    }
    return unpack 'H*', $read;
}

# Reads until the server closes the connection.
sub drain {
    my ($socket) = @_;
    1 while sysread $socket, my $rest, 65536;
}

# Sends the request and returns the answer, within a number of seconds that includes the end of the conversation.
sub answer {
    my ($share) = @_;
    socket my $socket, PF_UNIX, SOCK_STREAM, 0 or return '-';
    my ($answer, $missing) = (undef, '-');
    eval {
        local $SIG{ALRM} = sub { $missing = '!'; die "no answer in time\n" };
        local $SIG{PIPE} = 'IGNORE';
        # The time limit starts here, because connect also hangs if the server no longer accepts connections.
        alarm $share;
        connect $socket, pack_sockaddr_un($path) or die "no connection\n";
        syswrite $socket, pack 'H*', $request;
        $answer = beginning($socket);
        syswrite $socket, pack 'H*', $farewell if $answer eq $wanted;
        shutdown $socket, SHUT_WR;
        drain($socket);
        alarm 0;
    };
    alarm 0;
    return defined $answer ? $answer : $missing;
}

while (defined(my $user = shift @users)) {
    my (undef, undef, $number, $main) = getpwnam $user;
    my $answer = '?';
    if (defined $number) {
        # The remaining time is shared out, so a user without an answer leaves time for the later users.
        my $share = int(($end - time) / (@users + 1));
        my ($old_user, $old_groups) = ($>, $));
        $) = groups_of($user, $main) if $old_user == 0;
        $> = $number;
        $answer = answer($share > 1 ? $share : 1) if $> == $number;
        $> = $old_user;
        $) = $old_groups if $old_user == 0;
    }
    print "$user $answer\n";
}
