# One boot into a new NixOS system, while the old system stays the boot default. The scripts of a deploy do the work.
# The automatic update of the new system confirms the boot (docs/safety.md).
package Boot;
use strict;
use warnings;

# Returns the reason why the machine may not boot into a system by itself, or nothing if the machine may.
sub obstacle {
    my ($path) = @_;
    return 'deployment.autoUpdate.allowReboot is not set' if !$Machine::config->{allowReboot};
    my $own = System::configuration_of($path);
    return 'the new system has no update that may confirm the boot' if !$own || !$own->{allowReboot};
    my ($obstacle) = look() =~ /^obstacle=(.+)$/m;
    return $obstacle;
}

sub look { Machine::demand('look at the boot loader', 'bootCheck', 120, profile => $Machine::config->{profile}) }

sub id { System::first_line('/proc/sys/kernel/random/boot_id') // '' }

# Says whether the current boot is the one-time boot of an attempt.
sub is_entered {
    my ($attempt) = @_;
    my $words = System::first_line('/proc/cmdline') // '';
    return " $words " =~ / hydra-ops\.boot-once=\Q$attempt->{run}\E / && System::running() eq $attempt->{path};
}

# Prepares the boot, then requests the reboot. Returns nothing, or a sentence about the failure.
sub once {
    my ($attempt) = @_;
    my ($config, $folder) = ($Machine::config, $attempt->{folder});
    my ($loader) = look() =~ /^loader=(\S+)$/m;
    my %fallback = (old => $attempt->{previous}, once => $config->{once}, log => $attempt->{log});
    my %prepare = (
        run => $attempt->{run}, old => $attempt->{previous}, new => $attempt->{path}, folder => $folder, once => $config->{once},
        profile  => $config->{onceProfile}, loader => $loader // '', fallback_seconds => $config->{fallbackSeconds},
        fallback => Machine::value_lines(%fallback) . $config->{placed}{fallback},
    );
    my %values = (
        unit    => $attempt->{prepareUnit}, log => $attempt->{log}, folder => $folder, old => $attempt->{previous},
        prepare => Machine::value_lines(%prepare) . $config->{placed}{prepare},
    );
    Machine::step();
    Machine::demand('prepare a boot of the new system', 'bootStart', 180, %values);
    Machine::step();
    my $prepared = System::follow($attempt, 'prepared')->{files}{prepared} // '1 its unit ended without a result';
    if ($prepared ne '0') {
        forget($attempt, 'true');
        return 'the new system cannot be booted once: ' . substr $prepared, 2;
    }
    $attempt->{phase} = 'boot';
    Machine::write_own('attempt', $attempt);
    my $wrong = restart();
    # A later reboot by another user or program must not enter the new system.
    forget($attempt, 'true') if defined $wrong;
    return $wrong;
}

# Requests a reboot. Returns nothing, or a sentence about the failure.
sub restart {
    Machine::tell('rebooting');
    my ($code, undef, $wrong) = Machine::run(60, 'systemctl', '--no-block', 'reboot');
    return $code == 0 ? undef : 'the machine cannot be rebooted: ' . Machine::failure_of($code, $wrong, 60);
}

# Confirms the boot. Returns false if the fallback was faster.
sub confirm {
    my ($attempt) = @_;
    my %values = (run => $attempt->{run}, new => $attempt->{path}, once => $Machine::config->{once});
    Machine::step();
    my $said = Machine::demand('confirm the boot of the new system', 'bootConfirm', 120, %values);
    Machine::step();
    return $said =~ /^won=yes$/m;
}

# Removes all parts of the one-time boot; `menu` says whether the boot menu is generated again.
sub forget {
    my ($attempt, $menu) = @_;
    my %values = (
        run  => $attempt->{run}, unit => $attempt->{prepareUnit}, once => $Machine::config->{once}, profile => $Machine::config->{onceProfile},
        menu => $menu, log => $attempt->{log}, default => $Machine::config->{profile},
    );
    Machine::step();
    Machine::demand('remove the boot of the new system from the boot menu', 'bootForget', 900, %values);
    Machine::step();
}

1;
