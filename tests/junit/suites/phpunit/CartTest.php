<?php
use PHPUnit\Framework\TestCase;
final class CartTest extends TestCase
{
    public function testPasses(): void { $this->assertTrue(true); }
    public function testFails(): void { $this->assertSame(8, 9, 'off by <one> & more'); }
    public function testErrs(): void { throw new RuntimeException('no database'); }
    public function testSkipped(): void { $this->markTestSkipped('no card reader'); }
    public function testIncomplete(): void { $this->markTestIncomplete(); }
    public function testRisky(): void {}
    public function testWarning(): void { $this->addWarning('old'); $this->assertTrue(true); }
    /** @dataProvider coins */
    public function testCoin(string $coin): void { $this->assertSame('EUR', $coin); }
    public function coins(): array { return ['euro' => ['EUR'], '日本円' => ['JPY']]; }
    public function testGröße(): void { $this->assertTrue(true); }
}
